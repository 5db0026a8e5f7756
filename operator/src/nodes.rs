//! What the nodes can do, decided over all nodes that could take a pod: one that cannot would fail it.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use kube::ResourceExt as _;
use ws_api::class::Scheduling;

/// First kubelet that mounts [image volumes](https://kubernetes.io/docs/concepts/storage/volumes/#image) without being told to:
/// 1.35.
const IMAGE_VOLUMES_SINCE: (u32, u32) = (1, 35);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Features {
    /// Pods can have a [user namespace](https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/) of their own.
    pub user_namespaces: bool,
    /// Images can be mounted as volumes.
    pub image_volumes: bool,
}

/// Taints that come and go by themselves, with a node's condition: they don't say what a node is for.
const PASSING_TAINTS: &str = "node.kubernetes.io/";

/// What every schedulable node that `scheduling` selects can do with this runtime handler (`""` is the node's default one).
pub fn features<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    handler: &str,
    scheduling: &Scheduling,
) -> Features {
    let candidates: Vec<&Node> = nodes.into_iter().filter(|node| is_candidate(node, scheduling)).collect();
    let all = |can: &dyn Fn(&Node) -> bool| !candidates.is_empty() && candidates.iter().all(|node| can(node));
    Features {
        user_namespaces: all(&|node| has_user_namespaces(node, handler)),
        image_volumes: all(&|node| kubelet(node).is_some_and(|version| version >= IMAGE_VOLUMES_SINCE)),
    }
}

fn is_candidate(node: &Node, scheduling: &Scheduling) -> bool {
    let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    !unschedulable
        && taints
            .filter(|taint| keeps_pods_away(taint))
            .all(|taint| scheduling.tolerations.iter().any(|toleration| is_tolerated(taint, toleration)))
        && scheduling.node_selector.iter().all(|(label, value)| node.labels().get(label) == Some(value))
}

fn keeps_pods_away(taint: &Taint) -> bool {
    taint.effect != "PreferNoSchedule" && !taint.key.starts_with(PASSING_TAINTS)
}

/// As the [scheduler](https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/) decides it.
fn is_tolerated(taint: &Taint, toleration: &Toleration) -> bool {
    let Toleration { effect, key, operator, value, toleration_seconds: _ } = toleration;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    given(effect).is_none_or(|effect| effect == taint.effect)
        && given(key).is_none_or(|key| key == taint.key)
        && match operator.as_deref() {
            Some("Exists") => true,
            _ => given(key).is_some() && given(value) == given(&taint.value),
        }
}

fn has_user_namespaces(node: &Node, handler: &str) -> bool {
    let handlers = node.status.as_ref().and_then(|status| status.runtime_handlers.as_ref());
    handlers
        .into_iter()
        .flatten()
        .filter(|candidate| candidate.name.as_deref().unwrap_or_default() == handler)
        .any(|handler| {
            handler.features.as_ref().is_some_and(|features| features.user_namespaces == Some(true))
        })
}

/// Major and minor version of the kubelet.
fn kubelet(node: &Node) -> Option<(u32, u32)> {
    let version = &node.status.as_ref()?.node_info.as_ref()?.kubelet_version;
    let mut numbers = version.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{caches::prune_node, testing::object};

    /// A node as it is remembered.
    fn node(version: &str, handlers: &str, spec: &str) -> Node {
        let mut node = object(&format!(
            "{{metadata: {{name: n, labels: {{pool: agents}}}}, spec: {spec}, status: {{runtimeHandlers: {handlers}, nodeInfo:
             {{kubeletVersion: {version}, architecture: a, bootID: b, containerRuntimeVersion: c, kernelVersion: k,
             kubeProxyVersion: p, machineID: m, operatingSystem: linux, osImage: i, systemUUID: u}}}}}}"
        ));
        prune_node(&mut node);
        node
    }

    const BOTH: &str =
        "[{features: {userNamespaces: true}}, {name: gvisor, features: {userNamespaces: false}}]";

    fn table(nodes: &[Node], handler: &str, selector: &[(&str, &str)]) -> (bool, bool) {
        let node_selector = selector.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let scheduling = Scheduling { node_selector, tolerations: vec![] };
        let Features { user_namespaces, image_volumes } = features(nodes, handler, &scheduling);
        (user_namespaces, image_volumes)
    }

    #[test]
    fn a_node_that_is_kept_for_others_does_not_count() {
        let tolerations = |list: &str| Scheduling { tolerations: object(list), ..Scheduling::default() };
        let counts = |taint: &str, list: &str| {
            let tainted = node("v1.34.9", "[]", &format!("{{taints: [{taint}]}}"));
            !features([&node("v1.36.2", BOTH, "{}"), &tainted], "", &tolerations(list)).image_volumes
        };
        let gpu = "{key: gpu, value: big, effect: NoSchedule}";
        assert!(!counts(gpu, "[]"));
        assert!(!counts(gpu, "[{key: gpu, value: small, effect: NoSchedule}]"));
        assert!(!counts(gpu, "[{key: gpu, operator: Exists, effect: NoExecute}]"));
        assert!(counts(gpu, "[{key: gpu, value: big, effect: NoSchedule}]"));
        assert!(counts(gpu, "[{key: gpu, operator: Exists}]"));
        assert!(counts(gpu, "[{operator: Exists}]"));
        assert!(counts("{key: gpu, effect: PreferNoSchedule}", "[]"));
        assert!(
            counts("{key: node.kubernetes.io/not-ready, effect: NoSchedule}", "[]"),
            "it may be ready soon"
        );
    }

    #[test]
    fn a_feature_is_there_when_every_candidate_has_it() {
        let new = node("v1.36.2", BOTH, "{}");
        let old = node("v1.34.9-gke.1", "[]", "{}");
        let cordoned = node("v1.34.9", "[]", "{unschedulable: true}");
        let strange = node("devel", "[{name: '', features: {userNamespaces: true}}]", "{}");
        assert_eq!(table(&[], "", &[]), (false, false));
        assert_eq!(table(std::slice::from_ref(&new), "", &[]), (true, true));
        assert_eq!(table(std::slice::from_ref(&new), "gvisor", &[]), (false, true));
        assert_eq!(table(std::slice::from_ref(&new), "kata", &[]), (false, true));
        assert_eq!(table(&[new.clone(), old.clone()], "", &[]), (false, false));
        assert_eq!(table(&[new.clone(), cordoned], "", &[]), (true, true));
        assert_eq!(table(&[strange], "", &[]), (true, false));
        assert_eq!(table(std::slice::from_ref(&new), "", &[("pool", "agents")]), (true, true));
        assert_eq!(table(&[new], "", &[("pool", "other")]), (false, false));
    }
}
