//! Enforces NetworkPolicy for the pods of the lab's node: watches the API, keeps two nftables tables.
//!
//! It fails closed. The tables stay when the process ends; an address that no known pod has gets no traffic; a pod
//! becomes known only while all three watches are live, together with all policies that select it. CNI's result
//! tells the pod's address before its first instruction, so the pod is usually known by then.
//!
//! An address belongs to one port of the bridge and one hardware address, for IPv4 and ARP; nothing else enters
//! from a pod's port. Not covered: what a pod with `NET_RAW` learns by listening to frames that the bridge floods,
//! or by making the bridge forget where others are with frames to link-local groups (from which the bridge
//! learns before any hook). Nothing that policies deny is *sent* that way. An ICMP error about a connection passes
//! whenever conntrack knows the connection, even one that a later policy has cut.
//!
//! A slow mode makes the kind of cluster that `ws` must notice: pods have free traffic first, policies later.

mod cluster;
mod cni;
mod enforcer;
mod gate;
mod link;
mod nft;
mod policy;
mod ranges;
mod ready;
mod ruleset;
mod watch;

use std::{path::PathBuf, time::Duration};

use ipnet::Ipv4Net;

pub use crate::{
    cluster::{Cluster, LinkedPod},
    enforcer::run,
    link::{Error as LinkError, Link, Mac, PortName},
    policy::Error as PolicyError,
    ruleset::{Network, Unknown, render},
};

/// Enforce NetworkPolicy for the pods of one node
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to reach the API server
    #[arg(long)]
    pub kubeconfig: PathBuf,
    /// The node whose pods are guarded
    #[arg(long)]
    pub node: String,
    /// Where pod addresses come from
    #[arg(long, default_value = "10.90.0.0/16")]
    pub pod_network: Ipv4Net,
    /// The bridge that the pods are on
    #[arg(long, default_value = "cni0")]
    pub bridge: String,
    /// Exists while the policies of all pods are in force
    #[arg(long)]
    pub ready_file: PathBuf,
    /// Let every pod's traffic pass until this long after it got its address (0: not at all)
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub delay_ms: u64,
    /// Where libcni keeps the results of its plugins
    #[arg(long, default_value = "/var/lib/cni/results")]
    pub cni_results: PathBuf,
}

impl Args {
    fn network(&self) -> Network {
        let unknown = if self.delay_ms == 0 { Unknown::Drop } else { Unknown::Pass };
        Network { pods: self.pod_network, bridge: self.bridge.clone(), unknown }
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}
