//! The network policy of a class in a namespace.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use ws_api::{gateway, names::ClassName};

use super::labels;

/// Set by the API server on every namespace, and by nobody else.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";
const NAME_LABEL: &str = "app.kubernetes.io/name";

const CLASS_POLICY: &str = "ws-class-";

/// Name of the policy of a class, in each namespace that has workspaces of it.
pub fn class_policy_name(class: &ClassName) -> String {
    format!("{CLASS_POLICY}{class}")
}

/// Nothing in; out to the gateway's proxy port and to nothing else: not to DNS, not to the gateway's canary port.
///
/// The gateway is named by its pods' labels, not by its Service's address: policies are decided on what a Service's address was
/// translated to.
pub fn class_policy(namespace: &str, class: &ClassName, gateway_namespace: &str) -> NetworkPolicy {
    let gateway = NetworkPolicyPeer {
        namespace_selector: Some(selector(NAMESPACE_NAME_LABEL, gateway_namespace)),
        pod_selector: Some(selector(NAME_LABEL, gateway::NAME)),
        ip_block: None,
    };
    let proxy_port = NetworkPolicyPort {
        protocol: Some("TCP".into()),
        port: Some(IntOrString::Int(gateway::PROXY_PORT.into())),
        end_port: None,
    };
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(class_policy_name(class)),
            namespace: Some(namespace.into()),
            labels: Some(labels(class)),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(labels(class)), match_expressions: None }),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            // Stated, not left out: server-side apply takes out only what it once put in, and somebody may have put rules in.
            ingress: Some(vec![]),
            egress: Some(vec![NetworkPolicyEgressRule {
                to: Some(vec![gateway]),
                ports: Some(vec![proxy_port]),
            }]),
        }),
    }
}

fn selector(label: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(label.to_owned(), value.to_owned())].into()),
        match_expressions: None,
    }
}
