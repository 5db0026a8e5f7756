//! What the operator knows of the cluster, kept by watches: read without a request, and possibly a moment behind.
//!
//! Pruned on the way in to what is read here: ten thousand workspaces and their pods fit into a few dozen megabytes.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, NodeSpec, NodeStatus, Pod, Service},
    networking::v1::NetworkPolicy,
    node::v1::RuntimeClass,
};
use kube::{
    Resource as _, ResourceExt as _,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ws_api::{
    class::WorkspaceClass,
    workspace::{Phase, Workspace},
};

use crate::{
    nodes::{self, Features},
    policy::Scope,
    validate::Validated,
};

/// A reference to a Workspace, readable or not.
pub type WorkspaceRef = ObjectRef<DeserializeGuard<Workspace>>;

/// The stores. Cheap to clone.
#[derive(Clone)]
pub struct Caches {
    pub workspaces: Store<DeserializeGuard<Workspace>>,
    pub classes: Store<DeserializeGuard<WorkspaceClass>>,
    /// Those with our label.
    pub pods: Store<Pod>,
    /// All of the cluster: anybody's can widen ours.
    pub policies: Store<NetworkPolicy>,
    /// The gateway's Service, or nothing.
    pub gateway: Store<Service>,
    /// The Service of the cluster's DNS, or nothing.
    pub cluster_dns: Store<Service>,
    pub nodes: Store<Node>,
    pub runtime_classes: Store<RuntimeClass>,
    /// Number of stores that have seen everything once.
    pub listed: watch::Receiver<usize>,
    /// The end of the operator.
    pub shutdown: CancellationToken,
}

/// Number of stores in [`Caches`].
pub const STORES: usize = 8;

impl Caches {
    /// Waits until each store has seen everything once. False if the operator stops before.
    ///
    /// Not by the stores' own `wait_until_ready`: that wakes one of those who wait, and here each reconcile does.
    pub async fn ready(&self) -> bool {
        let mut listed = self.listed.clone();
        tokio::select! {
            // What has begun is finished, also after the end.
            biased;
            listed = listed.wait_for(|listed| *listed >= STORES) => listed.is_ok(),
            () = self.shutdown.cancelled() => false,
        }
    }

    /// The pod with the workspace's name, whoever it belongs to.
    pub fn pod(&self, workspace: &Workspace) -> Option<Arc<Pod>> {
        let namespace = workspace.namespace().unwrap_or_default();
        self.pods.get(&ObjectRef::new(&workspace.name_any()).within(&namespace))
    }

    /// All readable classes.
    pub fn classes(&self) -> Vec<Arc<WorkspaceClass>> {
        let readable =
            |class: Arc<DeserializeGuard<WorkspaceClass>>| class.0.as_ref().ok().cloned().map(Arc::new);
        self.classes.state().into_iter().filter_map(readable).collect()
    }

    /// Address of the gateway's Service, once it has one.
    pub fn gateway(&self) -> Option<IpAddr> {
        address(&self.gateway)
    }

    /// Address of the cluster's DNS, if there is any.
    pub fn cluster_dns(&self) -> Option<IpAddr> {
        address(&self.cluster_dns)
    }

    /// What every node that may get the workspace's pod can do.
    pub fn features(&self, workspace: &Validated) -> Features {
        let class = workspace
            .runtime_class
            .as_deref()
            .and_then(|name| self.runtime_classes.get(&ObjectRef::new(name)));
        let handler = class.as_ref().map_or("", |class| class.handler.as_str());
        let nodes = self.nodes.state();
        nodes::features(nodes.iter().map(AsRef::as_ref), handler, &workspace.scheduling)
    }

    /// All policies of a namespace.
    pub fn policies_of(&self, namespace: &str) -> Vec<Arc<NetworkPolicy>> {
        self.policies.state_filter(|policy| policy.metadata.namespace.as_deref() == Some(namespace))
    }

    /// The scopes that have a policy of ours or a pod, in one namespace or in all.
    pub fn scopes(&self, namespace: Option<&str>) -> Vec<Scope> {
        let within = |scope: &Scope| namespace.is_none_or(|namespace| scope.namespace == namespace);
        let policies = self.policies.state().into_iter().filter_map(|policy| Scope::of(&*policy));
        let pods = self.pods.state().into_iter().filter_map(|pod| Scope::of(&*pod));
        policies.chain(pods).filter(within).collect()
    }

    /// Whether the scope has pods.
    pub fn has_pods(&self, scope: &Scope) -> bool {
        self.pods.find(|pod| Scope::of(pod).as_ref() == Some(scope)).is_some()
    }

    /// Whether anything in the scope needs its policy, or may before long.
    pub fn needs_policy(&self, scope: &Scope) -> bool {
        self.has_pods(scope) || self.workspaces.find(|workspace| may_be_of(workspace, scope)).is_some()
    }

    /// The workspaces of the scope that have been given a pod.
    pub fn workspaces_with_pods(&self, scope: &Scope) -> Vec<WorkspaceRef> {
        self.readable_workspaces(|workspace| {
            may_have_class(workspace, scope)
                && workspace.status.as_ref().is_some_and(|status| status.pod_uid.is_some())
        })
    }

    /// The workspaces that have no pod yet and have not failed.
    pub fn waiting_workspaces(&self) -> Vec<WorkspaceRef> {
        self.readable_workspaces(|workspace| {
            let status = workspace.status.as_ref();
            status.is_none_or(|status| status.pod_uid.is_none() && status.phase != Some(Phase::Failed))
        })
    }

    /// The workspaces whose pod is not to be seen.
    pub fn workspaces_without_their_pod(&self) -> Vec<WorkspaceRef> {
        self.readable_workspaces(|workspace| {
            let pod = workspace.status.as_ref().and_then(|status| status.pod_uid.as_ref());
            pod.is_some() && self.pod(workspace).and_then(|pod| pod.uid()).as_ref() != pod
        })
    }

    fn readable_workspaces(&self, which: impl Fn(&Workspace) -> bool) -> Vec<WorkspaceRef> {
        self.workspaces
            .state_filter(|guard| guard.0.as_ref().is_ok_and(&which))
            .iter()
            .map(|workspace| ObjectRef::from_obj(&**workspace))
            .collect()
    }
}

/// Whether the workspace is of the scope's class, or may be: one that cannot be read may be of any.
fn may_be_of(guard: &DeserializeGuard<Workspace>, scope: &Scope) -> bool {
    match &guard.0 {
        Ok(workspace) => may_have_class(workspace, scope),
        Err(_) => guard.namespace().as_deref() == Some(&scope.namespace),
    }
}

/// Whether the workspace is of the scope's class. One whose class is not known yet may be of any.
fn may_have_class(workspace: &Workspace, scope: &Scope) -> bool {
    if workspace.namespace().as_deref() != Some(&scope.namespace) {
        return false;
    }
    let status = workspace.status.as_ref();
    let known =
        status.and_then(|status| status.class_name.as_deref()).or(workspace.spec.class_name.as_deref());
    match known {
        Some(class) => class == scope.class.as_ref(),
        None => status.is_none_or(|status| status.phase != Some(Phase::Failed)),
    }
}

fn address(store: &Store<Service>) -> Option<IpAddr> {
    store.state().first()?.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

/// Takes out of a Workspace what nobody reads here.
pub fn prune_workspace(guard: &mut DeserializeGuard<Workspace>) {
    let metadata = guard.meta_mut();
    metadata.managed_fields = None;
    metadata.annotations = None;
}

/// Takes out of a class what nobody reads here.
pub fn prune_class(class: &mut DeserializeGuard<WorkspaceClass>) {
    class.meta_mut().managed_fields = None;
}

/// Leaves of a pod who it is and how it fares.
pub fn prune_pod(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    pod.spec = None;
    if let Some(status) = &mut pod.status {
        status.resource_claim_statuses = None;
        status.pod_ips = None;
        status.host_ips = None;
    }
}

/// Leaves of a policy what it says.
pub fn prune_policy(policy: &mut NetworkPolicy) {
    policy.metadata.managed_fields = None;
    policy.metadata.annotations = None;
}

/// Leaves of a node whether it takes pods and what it can do.
pub fn prune_node(node: &mut Node) {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    node.spec = node.spec.take().map(|spec| NodeSpec {
        unschedulable: spec.unschedulable,
        taints: spec.taints,
        ..NodeSpec::default()
    });
    node.status = node.status.take().map(|status| NodeStatus {
        node_info: status.node_info,
        runtime_handlers: status.runtime_handlers,
        ..NodeStatus::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::workspace;

    #[test]
    fn a_workspace_of_an_unknown_class_may_need_any_policy() {
        let scope = |namespace: &str, class: &str| Scope {
            namespace: namespace.into(),
            class: class.parse().unwrap(),
        };
        let guarded = |class: Option<&str>, phase: Option<Phase>| {
            let mut workspace = workspace();
            workspace.spec.class_name = class.map(Into::into);
            workspace.status.get_or_insert_default().phase = phase;
            DeserializeGuard(Ok(workspace))
        };
        let named = guarded(Some("default"), None);
        assert!(may_be_of(&named, &scope("team-a", "default")));
        assert!(!may_be_of(&named, &scope("team-a", "other")));
        assert!(!may_be_of(&named, &scope("team-b", "default")));
        assert!(may_be_of(&guarded(None, Some(Phase::Pending)), &scope("team-a", "other")));
        assert!(!may_be_of(&guarded(None, Some(Phase::Failed)), &scope("team-a", "other")));
        assert!(may_be_of(&guarded(Some("default"), Some(Phase::Failed)), &scope("team-a", "default")));
    }
}
