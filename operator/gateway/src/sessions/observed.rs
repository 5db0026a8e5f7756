//! What the gateway keeps of a pod.

use std::net::IpAddr;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::ResourceExt as _;
use ws_api::{
    CLASS_LABEL, GROUP,
    names::{ClassName, WorkspaceName},
};

/// A running pod of a workspace and where its packets come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observed {
    pub identity: Identity,
    /// In canonical form: IPv4 is never mapped into IPv6.
    pub addresses: Vec<IpAddr>,
    /// It is being deleted.
    pub is_ending: bool,
}

/// Which pod, and of which workspace. None of it changes in a pod's life.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    pub namespace: String,
    pub workspace: WorkspaceName,
    pub workspace_uid: String,
    pub class: ClassName,
    pub pod_uid: String,
    pub created: Timestamp,
}

impl Identity {
    /// Orders pods from the oldest to the youngest; of the same second, by UID, so that all replicas agree.
    pub fn age_order(&self) -> (Timestamp, &str) {
        (self.created, &self.pod_uid)
    }
}

impl Observed {
    /// Reads a pod. `None` for what is not a running pod of a workspace with an address of its own.
    pub fn of(pod: &Pod) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
        // Such a pod's address is its node's: everything on the node would pass for the workspace.
        let on_host_network = spec.host_network == Some(true);
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let addresses: Vec<IpAddr> =
            status.pod_ips.iter().flatten().filter_map(|ip| canonical(&ip.ip)).collect();
        if on_host_network || ended || addresses.is_empty() {
            return None;
        }
        let owner = pod.owner_references().iter().find(|owner| is_workspace(owner))?;
        let identity = Identity {
            namespace: pod.namespace()?,
            workspace: owner.name.parse().ok()?,
            workspace_uid: owner.uid.clone(),
            class: pod.labels().get(CLASS_LABEL)?.parse().ok()?,
            pod_uid: pod.uid()?,
            created: pod.creation_timestamp()?.0,
        };
        let is_ending = pod.metadata.deletion_timestamp.is_some();
        Some(Self { identity, addresses, is_ending })
    }
}

fn canonical(address: &str) -> Option<IpAddr> {
    Some(address.parse::<IpAddr>().ok()?.to_canonical())
}

fn is_workspace(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split('/').next();
    group == Some(GROUP) && owner.kind == "Workspace" && owner.controller == Some(true)
}
