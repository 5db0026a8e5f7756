//! What the policies of a cluster mean for each of its pods, in addresses; nothing here knows of nftables.
//!
//! The semantics are those of `networking.k8s.io/v1` NetworkPolicy: policies only add up, a pod that none selects
//! in a direction is not isolated in it, and a connection needs the client's egress and the server's ingress.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod},
        networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::{
    ResourceExt as _,
    core::{ParseExpressionError, Selector, SelectorExt as _},
};

use crate::{
    cluster::{Cluster, LinkedPod},
    ranges::{Range, merged, without},
};

/// Why a policy could not be understood; the API server's validation lets neither through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("policy {policy} has a selector that means nothing")]
    Selector { policy: String, source: ParseExpressionError },
    #[error("policy {policy} has the block `{cidr}`, which is no network")]
    Block { policy: String, cidr: String, source: ipnet::AddrParseError },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

/// Pods that the same policies isolate in one direction, and all that those policies let through.
pub(crate) struct Isolation {
    pub(crate) pods: Vec<Ipv4Addr>,
    pub(crate) allowed: Vec<Allowed>,
}

/// Connections that a policy lets through; what is `None` is not asked about.
pub(crate) struct Allowed {
    /// Namespace and name, for people who read the rules.
    pub(crate) policy: String,
    pub(crate) peers: Option<Vec<Range>>,
    pub(crate) port: Option<Port>,
}

#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) protocol: Protocol,
    pub(crate) number: PortNumber,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Clone)]
pub(crate) enum PortNumber {
    Any,
    Between(i32, i32),
    /// A port by its name, which may have another number on each server that has it.
    Of(Vec<(Ipv4Addr, i32)>),
}

impl Protocol {
    /// `None` for one that the API does not have: nobody is let through by it.
    fn named(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// The policies of a cluster, and by address the pods that they can be about.
pub(crate) struct Policies<'a> {
    pods: BTreeMap<Ipv4Addr, &'a LinkedPod>,
    namespaces: &'a [Arc<Namespace>],
    by_name: Vec<NamedPolicy<'a>>,
}

struct NamedPolicy<'a> {
    namespace: String,
    /// Namespace and name.
    name: String,
    spec: &'a NetworkPolicySpec,
}

impl<'a> Policies<'a> {
    pub(crate) fn of(cluster: &'a Cluster) -> Self {
        let mut pods: Vec<&LinkedPod> =
            cluster.pods.iter().filter(|known| has_own_address(&known.pod)).collect();
        // Of two claims to an address the younger wins: the older pod's link is one that CNI failed to remove.
        pods.sort_by_key(|known| known.pod.creation_timestamp());
        let mut by_name: Vec<_> = cluster.policies.iter().filter_map(|policy| named(policy)).collect();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            pods: pods.into_iter().map(|known| (known.address(), known)).collect(),
            namespaces: &cluster.namespaces,
            by_name,
        }
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &'a LinkedPod> {
        self.pods.values().copied()
    }

    /// A pod in none of these is not isolated in this direction.
    pub(crate) fn isolations(&self, direction: Direction) -> Result<Vec<Isolation>, Error> {
        let mut policies_of: BTreeMap<Ipv4Addr, Vec<&NamedPolicy<'a>>> = BTreeMap::new();
        for policy in self.by_name.iter().filter(|policy| affects(policy.spec, direction)) {
            for pod in self.select(policy, &[&policy.namespace], policy.spec.pod_selector.as_ref())? {
                policies_of.entry(pod).or_default().push(policy);
            }
        }
        // Many pods share few combinations of policies: one isolation for each combination, not for each pod.
        let mut combinations: BTreeMap<Vec<&str>, (Vec<&NamedPolicy<'a>>, Vec<Ipv4Addr>)> = BTreeMap::new();
        for (pod, policies) in policies_of {
            let names = policies.iter().map(|policy| policy.name.as_str()).collect();
            combinations.entry(names).or_insert((policies, Vec::new())).1.push(pod);
        }
        let isolation = |(policies, pods): (Vec<&NamedPolicy<'a>>, _)| {
            let allowed: Result<Vec<_>, Error> =
                policies.into_iter().map(|policy| self.allowed(policy, direction)).collect();
            Ok(Isolation { pods, allowed: allowed?.into_iter().flatten().collect() })
        };
        combinations.into_values().map(isolation).collect()
    }

    fn allowed(&self, policy: &NamedPolicy<'_>, direction: Direction) -> Result<Vec<Allowed>, Error> {
        let spec = policy.spec;
        let rules: Vec<_> = match direction {
            Direction::Ingress => {
                spec.ingress.iter().flatten().map(|rule| (&rule.from, &rule.ports)).collect()
            }
            Direction::Egress => spec.egress.iter().flatten().map(|rule| (&rule.to, &rule.ports)).collect(),
        };
        let mut allowed = Vec::new();
        for (peers, ports) in rules {
            // An empty list restricts no more than none.
            let peers = peers.as_deref().filter(|peers| !peers.is_empty());
            let peers = peers.map(|peers| self.peers(policy, peers)).transpose()?;
            let ports = match ports.as_deref().filter(|ports| !ports.is_empty()) {
                None => vec![None],
                Some(ports) => ports.iter().filter_map(|port| self.port(port)).map(Some).collect(),
            };
            let policy = &policy.name;
            allowed.extend(ports.into_iter().map(|port| Allowed {
                policy: policy.clone(),
                peers: peers.clone(),
                port,
            }));
        }
        Ok(allowed)
    }

    fn peers(&self, policy: &NamedPolicy<'_>, peers: &[NetworkPolicyPeer]) -> Result<Vec<Range>, Error> {
        let mut addresses = Vec::new();
        for peer in peers {
            if let Some(block) = &peer.ip_block {
                addresses.extend(ip_block(policy, block)?);
                continue;
            }
            let matching = match &peer.namespace_selector {
                Some(selector) => self.namespaces_matching(policy, selector)?,
                None => vec![policy.namespace.clone()],
            };
            let namespaces: Vec<&str> = matching.iter().map(String::as_str).collect();
            addresses.extend(self.select(policy, &namespaces, peer.pod_selector.as_ref())?.map(Range::from));
        }
        Ok(merged(addresses))
    }

    fn port(&self, port: &NetworkPolicyPort) -> Option<Port> {
        let protocol = Protocol::named(port.protocol.as_deref())?;
        let number = match &port.port {
            None => PortNumber::Any,
            Some(IntOrString::Int(first)) => PortNumber::Between(*first, port.end_port.unwrap_or(*first)),
            Some(IntOrString::String(name)) => PortNumber::Of(self.servers(name, protocol)),
        };
        Some(Port { protocol, number })
    }

    fn servers(&self, port: &str, protocol: Protocol) -> Vec<(Ipv4Addr, i32)> {
        let of_pod = |known: &LinkedPod| {
            let address = known.address();
            ports_named(port, protocol, &known.pod).into_iter().map(move |number| (address, number))
        };
        self.pods().flat_map(of_pod).collect()
    }

    fn namespaces_matching(
        &self,
        policy: &NamedPolicy<'_>,
        labels: &LabelSelector,
    ) -> Result<Vec<String>, Error> {
        let selector = selector(policy, Some(labels))?;
        let matching = self.namespaces.iter().filter(|namespace| selector.matches(namespace.labels()));
        Ok(matching.map(|namespace| namespace.name_any()).collect())
    }

    fn select(
        &self,
        policy: &NamedPolicy<'_>,
        namespaces: &[&str],
        labels: Option<&LabelSelector>,
    ) -> Result<impl Iterator<Item = Ipv4Addr>, Error> {
        let selector = selector(policy, labels)?;
        let selected = |pod: &Pod| {
            pod.metadata.namespace.as_deref().is_some_and(|namespace| namespaces.contains(&namespace))
                && selector.matches(pod.labels())
        };
        let addresses: Vec<_> =
            self.pods().filter(|known| selected(&known.pod)).map(LinkedPod::address).collect();
        Ok(addresses.into_iter())
    }
}

fn named(policy: &NetworkPolicy) -> Option<NamedPolicy<'_>> {
    let namespace = policy.namespace().unwrap_or_default();
    let name = format!("{namespace}/{}", policy.name_any());
    Some(NamedPolicy { namespace, name, spec: policy.spec.as_ref()? })
}

fn selector(policy: &NamedPolicy<'_>, labels: Option<&LabelSelector>) -> Result<Selector, Error> {
    let labels = labels.cloned().unwrap_or_default();
    labels.try_into().map_err(|source| Error::Selector { policy: policy.name.clone(), source })
}

/// Not for a pod with the node's address, nor for one that has ended: its address may be another's by now.
fn has_own_address(pod: &Pod) -> bool {
    let on_host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !on_host_network && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// A policy that does not tell is about ingress, and about egress if it has rules for it.
fn affects(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let types = spec.policy_types.as_deref().filter(|types| !types.is_empty());
    match (types, direction) {
        (Some(types), Direction::Ingress) => types.iter().any(|name| name == "Ingress"),
        (Some(types), Direction::Egress) => types.iter().any(|name| name == "Egress"),
        (None, Direction::Ingress) => true,
        (None, Direction::Egress) => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
    }
}

/// Nothing for IPv6, which pods do not have here.
fn ip_block(policy: &NamedPolicy<'_>, block: &IPBlock) -> Result<Vec<Range>, Error> {
    if block.cidr.contains(':') {
        return Ok(Vec::new());
    }
    let range = |cidr: &String| -> Result<Range, Error> {
        let network: Result<Ipv4Net, _> = cidr.parse();
        let network = network.map_err(|source| Error::Block {
            policy: policy.name.clone(),
            cidr: cidr.clone(),
            source,
        })?;
        Ok(network.into())
    };
    let mut holes = block.except.iter().flatten().map(range);
    holes.try_fold(vec![range(&block.cidr)?], |rest, hole| Ok(without(rest, hole?)))
}

fn ports_named(name: &str, protocol: Protocol, pod: &Pod) -> Vec<i32> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let inits = spec.init_containers.iter().flatten();
    let sidecars = inits.filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let named = ports.filter(|port| {
        port.name.as_deref() == Some(name) && Protocol::named(port.protocol.as_deref()) == Some(protocol)
    });
    named.map(|port| port.container_port).collect()
}
