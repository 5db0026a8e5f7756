//! The table of family `bridge`: which frames may enter from a pod's port at all.
//!
//! Only IPv4 and ARP pass, and only in the name of the pod that the port was made for. So no other protocol, no
//! VLAN tag and no foreign address gets past the `inet` table, even from a pod that may send raw frames.

use crate::cluster::LinkedPod;

use super::{TABLE, Unknown, elements};

pub(super) fn table<'a>(pods: impl Iterator<Item = &'a LinkedPod>, unknown: Unknown) -> String {
    let (links, checks) = match unknown {
        Unknown::Drop => (links(pods), OWN_FRAMES),
        Unknown::Pass => (String::new(), ANY_FRAMES),
    };
    format!(
        r"table bridge {TABLE}
delete table bridge {TABLE}
table bridge {TABLE} {{
{links}	chain prerouting {{
		type filter hook prerouting priority filter; policy drop
		jump from_pods
	}}
	# Frames to link-local groups meet this hook only.
	chain input {{
		type filter hook input priority filter; policy drop
		jump from_pods
	}}
	chain from_pods {{
{checks}
	}}
}}
"
    )
}

/// An ARP packet names its sender twice, in its own header and in the frame's; the bridge learns from the latter.
const OWN_FRAMES: &str = "\t\t\
		ether type ip iifname . ether saddr . ip saddr @links accept
		ether type != arp drop
		iifname . ether saddr . arp saddr ip @links iifname . arp saddr ether . arp saddr ip @links accept";

const ANY_FRAMES: &str = "\t\tether type { ip, arp } accept";

fn links<'a>(pods: impl Iterator<Item = &'a LinkedPod>) -> String {
    let links =
        pods.map(|known| format!("\"{}\" . {} . {}", known.link.port, known.link.mac, known.link.address));
    format!("\tset links {{ type ifname . ether_addr . ipv4_addr; {} }}\n", elements(links))
}
