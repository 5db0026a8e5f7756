//! The nftables tables that enforce the policies of a cluster, as text for `nft -f`.
//!
//! What is judged is the connection, not the packet: its client is the source of the original direction, its
//! server the source of the replies (so after a Service's translation). Every packet of either direction is
//! looked up anew, hence a policy that comes later cuts what it forbids at once, and replies need no rule of their
//! own. A connection of known pods that a policy denies is refused, so that the client knows at once; packets that
//! belong to nobody known, or lie about whose they are, are dropped.
//!
//! Needs `net.bridge.bridge-nf-call-iptables`: only with it do packets between two ports of the bridge meet the
//! hooks of the `inet` table.

mod bridge;
mod isolation;

use std::fmt::Display;

use ipnet::Ipv4Net;

use crate::{
    cluster::Cluster,
    policy::{Direction, Error, Policies},
};

/// The name that both tables have, in families `inet` and `bridge`.
pub(crate) const TABLE: &str = "ws_netpol";

/// The CNI bridge plugin calls the node's end of a pod's link so.
const PORTS: &str = "veth*";

const CLIENT: &str = "ct original ip saddr";
const SERVER: &str = "ct reply ip saddr";
const SERVER_PORT: &str = "ct reply proto-src";

/// Where the pods of the node are, and what becomes of those that are not known yet.
#[derive(Clone, Debug)]
pub struct Network {
    pub pods: Ipv4Net,
    /// The bridge whose ports the pods are; it must be the only bridge of its network namespace.
    pub bridge: String,
    pub unknown: Unknown,
}

/// What happens to the traffic of a pod before its policies are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Nothing passes, from any address but those of known pods.
    Drop,
    /// All passes, as on clusters whose network plugin programs policies late.
    Pass,
}

/// Renders the commands that replace both tables in one transaction.
///
/// # Errors
/// When a policy cannot be understood; no rules can be right then.
pub fn render(cluster: &Cluster, network: &Network) -> Result<String, Error> {
    let policies = Policies::of(cluster);
    let egress = policies.isolations(Direction::Egress)?;
    let ingress = policies.isolations(Direction::Ingress)?;
    let parts = [
        bridge::table(policies.pods(), network.unknown),
        format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n"),
        sets(&policies),
        isolation::map(Direction::Egress, &egress),
        isolation::map(Direction::Ingress, &ingress),
        hooks(network),
        gates(network),
        isolation::chains(Direction::Egress, &egress),
        isolation::chains(Direction::Ingress, &ingress),
        "}\n".to_owned(),
    ];
    Ok(parts.concat())
}

fn sets(policies: &Policies<'_>) -> String {
    let known = elements(policies.pods().map(|known| known.link.address));
    let itself = elements(policies.pods().map(|known| format!("{0} . {0}", known.link.address)));
    format!(
        "\tset pods {{ type ipv4_addr; {known} }}\n\tset itself {{ type ipv4_addr . ipv4_addr; {itself} }}\n"
    )
}

fn hooks(network: &Network) -> String {
    let Network { pods, bridge, unknown: _ } = network;
    format!(
        r#"
	# From the pods comes IPv4 of the pod network to one receiver, nothing else: groups are subject to no policy.
	# A frame to a link-local group comes up on the port itself, not on the bridge.
	chain prerouting {{
		type filter hook prerouting priority mangle
		iifname "{PORTS}" drop
		iifname != "{bridge}" accept
		meta nfproto != ipv4 drop
		ip saddr != {pods} drop
		ip daddr 224.0.0.0/3 drop
	}}
	chain forward {{
		type filter hook forward priority filter
		oifname "{bridge}" meta nfproto != ipv4 drop
		ct state invalid,untracked drop
		{CLIENT} . {SERVER} @itself accept
		jump egress
		jump ingress
	}}
	# The node is no pod: what it began itself passes, and pods that turn to it are subject to their egress alone.
	chain input {{
		type filter hook input priority filter
		iif lo accept
		ip saddr {pods} ct state invalid,untracked drop
		ct direction reply accept
		jump egress
	}}
	# What a refusal sends is `related` to the connection that it ends.
	chain output {{
		type filter hook output priority filter
		oif lo accept
		ct direction original accept
		ct state related accept
		jump egress
	}}
"#
    )
}

/// May the client begin this connection, and may the server be reached by it? Each chain returns if so.
fn gates(network: &Network) -> String {
    let Network { pods, bridge: _, unknown } = network;
    let stranger = |address: &str| match unknown {
        Unknown::Drop => format!("\n\t\t{address} {pods} {address} != @pods drop"),
        Unknown::Pass => String::new(),
    };
    let (client, server) = (stranger(CLIENT), stranger(SERVER));
    format!(
        r"
	chain egress {{{client}
		{CLIENT} vmap @egress_isolation
	}}
	chain ingress {{{server}
		{SERVER} vmap @ingress_isolation
	}}
	# A reset for a packet that came over the bridge leaves as it is, with the server's address instead of the
	# Service's, and the client would ignore it. ICMP errors are translated.
	chain refuse {{
		ct status dnat reject with icmpx type admin-prohibited
		meta l4proto tcp reject with tcp reset
		reject with icmpx type admin-prohibited
	}}
"
    )
}

/// The elements of a named set or map; nft takes no empty list of them.
fn elements(elements: impl IntoIterator<Item = impl Display>) -> String {
    list(elements).map(|list| format!("elements = {list}")).unwrap_or_default()
}

/// `None` for no elements: nft has no empty set.
fn list(elements: impl IntoIterator<Item = impl Display>) -> Option<String> {
    let elements: Vec<_> = elements.into_iter().map(|element| element.to_string()).collect();
    (!elements.is_empty()).then(|| format!("{{ {} }}", elements.join(", ")))
}

#[cfg(test)]
mod tests;
