use k8s_openapi::{
    api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::*;
use crate::{build::network::class_policy, testing::object};

fn scope() -> Scope {
    Scope { namespace: "team-a".into(), class: "default".parse().unwrap() }
}

fn desired() -> NetworkPolicy {
    class_policy("team-a", &"default".parse().unwrap(), "ws-system")
}

/// A policy of somebody else with this spec.
fn foreign(spec: &str) -> NetworkPolicy {
    object(&format!("{{metadata: {{name: helpful, namespace: team-a}}, spec: {spec}}}"))
}

fn finding(policies: &[NetworkPolicy]) -> Finding {
    let policies: Vec<_> = policies.iter().cloned().map(Arc::new).collect();
    judge(&scope(), &desired(), &policies, None)
}

#[test]
fn a_policy_is_right_when_it_says_what_it_should() {
    let mut stored = desired();
    stored.spec.as_mut().unwrap().ingress = None;
    stored.metadata.annotations = Some([("note".to_owned(), "x".to_owned())].into());
    stored.labels_mut().insert("more".into(), "x".into());
    assert_eq!(finding(&[stored]), Finding::Right);
}

#[test]
fn any_drift_is_wrong() {
    type Change = fn(&mut NetworkPolicy);
    let changes: [(&str, Change); 6] = [
        ("ingress opened", |p| {
            p.spec.as_mut().unwrap().ingress = Some(vec![NetworkPolicyIngressRule::default()]);
        }),
        ("egress opened", |p| {
            p.spec.as_mut().unwrap().egress = Some(vec![NetworkPolicyEgressRule::default()]);
        }),
        ("a port added", |p| p.spec.as_mut().unwrap().egress.as_mut().unwrap()[0].ports = None),
        ("a type dropped", |p| p.spec.as_mut().unwrap().policy_types = Some(vec!["Egress".into()])),
        ("other pods", |p| p.spec.as_mut().unwrap().pod_selector = Some(LabelSelector::default())),
        ("our label lost", |p| p.metadata.labels = None),
    ];
    for (what, change) in changes {
        let mut policy = desired();
        change(&mut policy);
        assert_eq!(finding(&[policy]), Finding::Wrong, "{what}");
    }
}

#[test]
fn a_policy_of_another_namespace_is_none() {
    assert_eq!(finding(&[]), Finding::Missing);
    let mut elsewhere = desired();
    elsewhere.metadata.namespace = Some("team-b".into());
    assert_eq!(finding(&[elsewhere]), Finding::Missing);
}

#[test]
fn a_policy_that_is_known_to_be_gone_does_not_count() {
    let mut gone = desired();
    gone.metadata.uid = Some("1".into());
    assert_eq!(judge(&scope(), &desired(), &[Arc::new(gone.clone())], Some("1")), Finding::Missing);
    assert_eq!(judge(&scope(), &desired(), &[Arc::new(gone)], Some("2")), Finding::Right);
}

#[test]
fn another_policy_that_lets_the_pods_out_is_named() {
    for (spec, widens) in [
        ("{podSelector: {}, policyTypes: [Egress], egress: [{}]}", true),
        ("{podSelector: {}, egress: [{ports: [{port: 53}]}]}", true),
        ("{podSelector: {matchLabels: {ws.dev/class: default}}, policyTypes: [Egress], egress: [{}]}", true),
        ("{podSelector: {matchExpressions: [{key: ws.dev/class, operator: Exists}]}, egress: [{}]}", true),
        ("{podSelector: {matchExpressions: [{key: ws.dev/class, operator: Near}]}, egress: [{}]}", true),
        (
            "{podSelector: {matchExpressions: [{key: ws.dev/class, operator: DoesNotExist}]}, egress: [{}]}",
            false,
        ),
        ("{podSelector: {matchLabels: {ws.dev/class: other}}, egress: [{}]}", false),
        ("{podSelector: {matchLabels: {app: web}}, egress: [{}]}", false),
        ("{podSelector: {}, policyTypes: [Egress], egress: []}", false),
        ("{podSelector: {}, policyTypes: [Ingress, Egress]}", false),
        ("{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}", false),
        ("{podSelector: {}, policyTypes: [Ingress], egress: [{}]}", false),
    ] {
        let expected = if widens { Finding::Widened { by: "helpful".into() } } else { Finding::Right };
        assert_eq!(finding(&[desired(), foreign(spec)]), expected, "{spec}");
    }
}

#[test]
fn a_scope_is_read_off_the_labels() {
    assert_eq!(Scope::of(&desired()), Some(scope()));
    assert_eq!(Scope::of(&foreign("{}")), None);
}
