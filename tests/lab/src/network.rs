//! The lab's networks: which namespaces and addresses there are, and the commands that make them.
//!
//! ```text
//!  machine ── ws-host ─┐
//!  10.89.0.1           │ node0 10.89.0.2
//!                ┌─────┴─────┐ inet0 ─── ws-internet: 20.0.113.0/24, 44.0.113.0/24, 2600:db8:1::/48
//!  pods ── cni0 ─┤  ws-node  │
//!  10.90.0.0/16  └───────────┘ corp0 ─── ws-company:  10.77.0.0/16
//!                             host0 ─── ws-hosts:    20.0.114.0/24
//! ```
//!
//! The node has no default route: what it does not know goes nowhere, so nothing leaves the machine. Internet and company
//! answer on *every* address of their prefixes and keep what they get; the hosts are real servers of the internet. The prefixes of the internet are public ones on purpose: a
//! correct proxy refuses addresses that are set aside for documentation, and it must have no exception for tests.

pub mod namespace;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use anyhow::Result;
use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;

use crate::command;

/// The node's network namespace: control plane, kubelet and the bridge of the pods.
pub const NODE: &str = "ws-node";
/// The network namespace of the fake internet.
pub const INTERNET: &str = "ws-internet";
/// The network namespace of the company network.
pub const COMPANY: &str = "ws-company";
/// The network namespace of the internet's real servers.
pub const HOSTS: &str = "ws-hosts";
/// All of them, the node first.
pub const NAMESPACES: [&str; 4] = [NODE, INTERNET, COMPANY, HOSTS];

/// The machine's end of its link to the node.
pub const MACHINE_LINK: &str = "ws-host";
/// The bridge that the pods are attached to.
pub const BRIDGE: &str = "cni0";

/// The machine, as the node sees it.
pub const MACHINE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);
/// The node, as the machine and the pods see it: API server 6443, kubelet 10250.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 2);
/// First address of [`service_network`], the API server's Service.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Tenth address of [`service_network`], the cluster's DNS.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Where clouds keep their instances' credentials, and two neighbours of theirs; the node answers.
pub const METADATA_ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(169, 254, 20, 10), Ipv4Addr::new(100, 100, 100, 200)];

/// The internet's web server.
pub const INTERNET_WEB: Ipv4Addr = Ipv4Addr::new(20, 0, 114, 80);

/// The pods' network.
pub fn pod_network() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 90, 0, 0), 16)
}

/// The Services' network.
pub fn service_network() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16)
}

/// The prefixes of the fake internet.
pub fn internet_prefixes() -> [IpNet; 3] {
    [
        IpNet::new_assert(Ipv4Addr::new(20, 0, 113, 0).into(), 24),
        IpNet::new_assert(Ipv4Addr::new(44, 0, 113, 0).into(), 24),
        IpNet::new_assert(IpAddr::from([0x2600, 0xdb8, 1, 0, 0, 0, 0, 0]), 48),
    ]
}

/// The company network.
pub fn company_network() -> IpNet {
    IpNet::new_assert(Ipv4Addr::new(10, 77, 0, 0).into(), 16)
}

/// The network of the internet's real servers.
pub fn hosts_network() -> IpNet {
    IpNet::new_assert(Ipv4Addr::new(20, 0, 114, 0).into(), 24)
}

/// A network behind the node and the link that leads to it.
struct Outer {
    namespace: &'static str,
    /// The node's end; the other end is `eth0`.
    link: &'static str,
    node: Ipv4Addr,
    peer: Ipv4Addr,
    prefixes: Vec<IpNet>,
}

fn outer() -> [Outer; 3] {
    [
        Outer {
            namespace: INTERNET,
            link: "inet0",
            node: Ipv4Addr::new(10, 88, 0, 1),
            peer: Ipv4Addr::new(10, 88, 0, 2),
            prefixes: internet_prefixes().to_vec(),
        },
        Outer {
            namespace: COMPANY,
            link: "corp0",
            node: Ipv4Addr::new(10, 88, 1, 1),
            peer: Ipv4Addr::new(10, 88, 1, 2),
            prefixes: vec![company_network()],
        },
        Outer {
            namespace: HOSTS,
            link: "host0",
            node: Ipv4Addr::new(10, 88, 2, 1),
            peer: Ipv4Addr::new(10, 88, 2, 2),
            prefixes: vec![hosts_network()],
        },
    ]
}

/// Link-local addresses of one veth pair, node first: IPv6 routes need a next hop, and waiting for the kernel's own
/// addresses would take a second of duplicate address detection.
const LINK_LOCAL: [&str; 2] = ["fe80::1", "fe80::2"];

/// Makes all namespaces, links and routes.
pub fn create() -> Result<()> {
    for namespace in NAMESPACES {
        command::output(Command::new("ip").args(["netns", "add", namespace]))?;
    }
    namespace::enter(NODE, set_node_sysctls)??;
    batch(None, &machine_commands())?;
    batch(Some(NODE), &node_commands())?;
    for network in outer() {
        batch(Some(network.namespace), &outer_commands(&network))?;
    }
    Ok(())
}

/// Removes what [`create`] made, as far as it is there. Links and routes go with their namespace.
pub fn remove() -> Result<()> {
    for namespace in NAMESPACES.into_iter().filter(|name| namespace::exists(name)) {
        command::output(Command::new("ip").args(["netns", "delete", namespace]))?;
    }
    // The kernel takes a namespace apart in its own time; the machine's end of the link must not outlive this call.
    if command::output(Command::new("ip").args(["link", "show", MACHINE_LINK])).is_ok() {
        // Lost races are fine: the kernel was faster.
        drop(command::output(Command::new("ip").args(["link", "delete", MACHINE_LINK])));
    }
    Ok(())
}

fn set_node_sysctls() -> Result<()> {
    for (key, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        // Without these, packets between two pods of the node do not pass the hooks that judge them.
        ("net/bridge/bridge-nf-call-iptables", "1"),
        ("net/bridge/bridge-nf-call-ip6tables", "1"),
    ] {
        namespace::write_sysctl(key, value)?;
    }
    Ok(())
}

fn batch(namespace: Option<&str>, commands: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    if let Some(namespace) = namespace {
        ip.args(["-netns", namespace]);
    }
    command::output_of_input(ip.args(["-batch", "-"]), commands)?;
    Ok(())
}

fn machine_commands() -> String {
    let (pods, services) = (pod_network(), service_network());
    format!(
        "link add {MACHINE_LINK} type veth peer name node0 netns {NODE}\n\
         address add {MACHINE_ADDRESS}/24 dev {MACHINE_LINK}\n\
         link set {MACHINE_LINK} up\n\
         route add {services} via {NODE_ADDRESS} onlink dev {MACHINE_LINK}\n\
         route add {pods} via {NODE_ADDRESS} onlink dev {MACHINE_LINK}\n"
    )
}

fn node_commands() -> String {
    let pods = pod_network();
    let mut text = format!(
        "link set lo up\n\
         address add {NODE_ADDRESS}/24 dev node0\n\
         link set node0 up\n\
         link add {BRIDGE} type bridge\n\
         address add {}/{} dev {BRIDGE}\n\
         link set {BRIDGE} up\n\
         link add metadata type bridge\n",
        pods.hosts().next().unwrap_or(pods.addr()),
        pods.prefix_len(),
    );
    for address in METADATA_ADDRESSES {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "address add {address}/32 dev metadata");
    }
    text.push_str("link set metadata up\n");
    // The node's own connections to Services need any route before kube-proxy can redirect them; this one leads nowhere.
    let _ = writeln!(text, "route add {} dev metadata src {NODE_ADDRESS}", service_network());
    for network in outer() {
        let Outer { namespace, link, node, peer, prefixes } = network;
        let [local, hop] = LINK_LOCAL;
        let _ = write!(
            text,
            "link add {link} type veth peer name eth0 netns {namespace}\n\
             address add {node}/30 dev {link}\n\
             address add {local}/64 dev {link} nodad\n\
             link set {link} up\n"
        );
        for prefix in prefixes {
            let via = if prefix.addr().is_ipv4() { peer.to_string() } else { hop.to_owned() };
            let _ = writeln!(text, "route add {prefix} via {via} dev {link} onlink");
        }
    }
    text
}

fn outer_commands(network: &Outer) -> String {
    let [hop, local] = LINK_LOCAL;
    let mut text = format!(
        "link set lo up\n\
         address add {}/30 dev eth0\n\
         address add {local}/64 dev eth0 nodad\n\
         link set eth0 up\n\
         route add default via {}\n\
         route add default via {hop} dev eth0\n",
        network.peer, network.node,
    );
    for prefix in &network.prefixes {
        let _ = writeln!(text, "route add local {prefix} dev lo");
    }
    text
}

/// The addresses a test needs to know.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    pub machine: IpAddr,
    pub node: IpAddr,
    pub dns: IpAddr,
    pub pods: IpNet,
    pub services: IpNet,
    /// Every address of these prefixes answers.
    pub internet: Vec<IpNet>,
    /// Every address of this prefix answers.
    pub company: IpNet,
    pub metadata: Vec<IpAddr>,
    /// The internet's real servers.
    pub hosts: IpNet,
}

impl Addresses {
    /// The addresses of the lab: always the same.
    pub fn of_the_lab() -> Self {
        Self {
            machine: MACHINE_ADDRESS.into(),
            node: NODE_ADDRESS.into(),
            dns: DNS_SERVICE.into(),
            pods: pod_network().into(),
            services: service_network().into(),
            internet: internet_prefixes().to_vec(),
            company: company_network(),
            metadata: METADATA_ADDRESSES.map(IpAddr::from).to_vec(),
            hosts: hosts_network(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_knows_no_way_out_of_the_machine() {
        assert!(!node_commands().contains("default"));
    }

    #[test]
    fn the_links_of_all_namespaces() {
        let outer = outer().map(|network| outer_commands(&network)).join("---\n");
        insta::assert_snapshot!([machine_commands(), node_commands(), outer].join("---\n"));
    }

    #[test]
    fn the_prefixes_of_the_lab_do_not_overlap() {
        let all: Vec<IpNet> = internet_prefixes()
            .into_iter()
            .chain([company_network(), hosts_network(), pod_network().into(), service_network().into()])
            .collect();
        for (index, one) in all.iter().enumerate() {
            for other in all.iter().skip(index + 1) {
                assert!(!one.contains(other) && !other.contains(one), "{one} and {other}");
            }
        }
    }
}
