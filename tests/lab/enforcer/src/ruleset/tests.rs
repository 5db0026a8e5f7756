//! Policies in, rules out.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, from_value, json};

use crate::{
    cluster::{Cluster, LinkedPod},
    link::Link,
    ruleset::{Network, Unknown, render as render_cluster},
};

fn network(unknown: Unknown) -> Network {
    Network { pods: "10.90.0.0/16".parse().unwrap(), bridge: "cni0".to_owned(), unknown }
}

fn objects<K: DeserializeOwned>(objects: Vec<Value>) -> Vec<Arc<K>> {
    objects.into_iter().map(|object| Arc::new(from_value(object).unwrap())).collect()
}

/// The pod whose address ends in `host`.
fn linked(host: u8, pod: Value) -> LinkedPod {
    let link = Link {
        pod_uid: format!("uid-{host}"),
        address: format!("10.90.0.{host}").parse().unwrap(),
        port: format!("veth{host}").parse().unwrap(),
        mac: format!("0a:00:00:00:00:{host:02x}").parse().unwrap(),
    };
    LinkedPod { pod: Arc::new(from_value(pod).unwrap()), link }
}

fn pod(namespace: &str, app: &str, http: u16) -> Value {
    let port =
        if http == 0 { json!({"containerPort": 1}) } else { json!({"name": "http", "containerPort": http}) };
    json!({
        "metadata": {
            "namespace": namespace, "name": app, "labels": {"app": app}, "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"containers": [{"name": app, "ports": [port]}]},
        "status": {"phase": "Running"},
    })
}

/// Shop has a web (.2) and a db (.3), both with port "http", and ops has a probe (.4).
fn cluster(more_pods: Vec<LinkedPod>, policies: Vec<Value>) -> Cluster {
    let mut pods = vec![
        linked(2, pod("shop", "web", 8080)),
        linked(3, pod("shop", "db", 5432)),
        linked(4, pod("ops", "probe", 0)),
    ];
    pods.extend(more_pods);
    let namespace = |name: &str| json!({"metadata": {"name": name, "labels": {"team": name}}});
    Cluster {
        pods,
        namespaces: objects(vec![namespace("shop"), namespace("ops")]),
        policies: objects(policies),
    }
}

fn render_with(more_pods: Vec<LinkedPod>, policies: Vec<Value>) -> String {
    render_cluster(&cluster(more_pods, policies), &network(Unknown::Drop)).unwrap()
}

fn render(policies: Vec<Value>) -> String {
    render_with(vec![], policies)
}

/// A policy of namespace shop.
fn policy(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

/// What the pods of this policy let in, and what becomes of the rest.
fn ingress(rules: &Value) -> Vec<String> {
    chain(&render(vec![policy("p", &json!({"podSelector": {}, "ingress": rules}))]), "ingress_0")
}

/// The rules of a chain but its first, which is the same in all.
fn chain(ruleset: &str, name: &str) -> Vec<String> {
    let lines = ruleset.lines().map(str::trim).skip_while(|line| *line != format!("chain {name} {{"));
    lines.skip(2).take_while(|line| *line != "}").map(str::to_owned).collect()
}

fn line<'a>(ruleset: &'a str, start: &str) -> &'a str {
    ruleset.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap()
}

#[test]
fn the_rules_of_a_small_cluster() {
    let web = json!({
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}], "ports": [{"port": "http"}]}],
    });
    insta::assert_snapshot!(render(vec![policy("web", &web)]));
}

#[test]
fn the_rules_of_the_slow_mode_let_strangers_pass() {
    insta::assert_snapshot!(render_cluster(&cluster(vec![], vec![]), &network(Unknown::Pass)).unwrap());
}

#[test]
fn an_empty_cluster_has_rules_too() {
    insta::assert_snapshot!(render_cluster(&Cluster::default(), &network(Unknown::Drop)).unwrap());
}

#[test]
fn without_policies_all_pods_are_known_and_none_is_isolated() {
    let ruleset = render(vec![]);
    assert_eq!(
        line(&ruleset, "set pods"),
        "set pods { type ipv4_addr; elements = { 10.90.0.2, 10.90.0.3, 10.90.0.4 } }"
    );
    assert_eq!(line(&ruleset, "map egress"), "map egress_isolation { type ipv4_addr : verdict;  }");
    assert_eq!(line(&ruleset, "map ingress"), "map ingress_isolation { type ipv4_addr : verdict;  }");
}

#[test]
fn deny_all_refuses_both_ways_and_only_in_its_namespace() {
    let ruleset =
        render(vec![policy("deny", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))]);
    assert!(
        line(&ruleset, "map egress").contains("{ 10.90.0.2 : jump egress_0, 10.90.0.3 : jump egress_0 }")
    );
    assert_eq!(chain(&ruleset, "egress_0"), ["goto refuse"]);
    assert_eq!(chain(&ruleset, "ingress_0"), ["goto refuse"]);
}

#[test]
fn without_types_a_policy_is_about_egress_only_if_it_has_such_rules() {
    for (spec, egress) in [
        (json!({"podSelector": {}}), false),
        (json!({"podSelector": {}, "egress": []}), false),
        (json!({"podSelector": {}, "egress": [{}]}), true),
    ] {
        let ruleset = render(vec![policy("p", &spec)]);
        assert!(line(&ruleset, "map ingress").contains("10.90.0.2"), "{spec}");
        assert_eq!(line(&ruleset, "map egress").contains("10.90.0.2"), egress, "{spec}");
    }
}

#[test]
fn policies_add_up() {
    let ruleset = render(vec![
        policy("b-all", &json!({"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]})),
        policy("a-web", &json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{}]})),
    ]);
    let b_all = "meta l4proto tcp ct reply proto-src 80 return comment \"shop/b-all\"";
    assert_eq!(chain(&ruleset, "ingress_0"), ["return comment \"shop/a-web\"", b_all, "goto refuse"]);
    assert_eq!(chain(&ruleset, "ingress_1"), [b_all, "goto refuse"]);
    assert!(line(&ruleset, "map ingress").contains("10.90.0.2 : jump ingress_0, 10.90.0.3 : jump ingress_1"));
}

#[test]
fn peers_are_selected_by_pod_by_namespace_and_by_both() {
    let app = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
    for (peer, expected) in [
        (json!({"podSelector": {}}), Some("10.90.0.2-10.90.0.3")),
        (json!({"podSelector": app("NotIn", &["web"])}), Some("10.90.0.3")),
        (json!({"namespaceSelector": {"matchLabels": {"team": "ops"}}}), Some("10.90.0.4")),
        (
            json!({"namespaceSelector": {}, "podSelector": app("In", &["web", "probe"])}),
            Some("10.90.0.2, 10.90.0.4"),
        ),
        (json!({"podSelector": {"matchLabels": {"app": "probe"}}}), None),
    ] {
        let rule =
            expected.map(|peers| format!("ct original ip saddr {{ {peers} }} return comment \"shop/p\""));
        let expected: Vec<_> = rule.into_iter().chain(["goto refuse".to_owned()]).collect();
        assert_eq!(ingress(&json!([{"from": [peer]}])), expected, "{peer}");
    }
}

#[test]
fn an_ip_block_has_holes() {
    let block = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/24", "10.90.0.0/16"]}});
    let other_family = json!({"ipBlock": {"cidr": "fd00::/8"}});
    let hole = json!({"ipBlock": {"cidr": "10.90.0.0/24", "except": ["10.90.0.2/32"]}});
    let filling = json!({"ipBlock": {"cidr": "10.90.0.2/32"}});
    for (from, expected) in [
        (json!([block, other_family]), "10.0.1.0-10.89.255.255, 10.91.0.0-10.255.255.255"),
        (json!([hole, filling]), "10.90.0.0-10.90.0.255"),
    ] {
        let rule = format!("ct original ip saddr {{ {expected} }} return comment \"shop/p\"");
        assert_eq!(ingress(&json!([{"from": from}]))[0], rule);
    }
}

#[test]
fn ports_have_protocols_ranges_and_names() {
    let web_and_db = "ct reply ip saddr . ct reply proto-src { 10.90.0.2 . 8080, 10.90.0.3 . 5432 } ";
    for (port, expected) in [
        (json!({"port": 80}), Some("meta l4proto tcp ct reply proto-src 80 ".to_owned())),
        (
            json!({"port": 8000, "endPort": 8100}),
            Some("meta l4proto tcp ct reply proto-src 8000-8100 ".to_owned()),
        ),
        (json!({"port": 53, "protocol": "UDP"}), Some("meta l4proto udp ct reply proto-src 53 ".to_owned())),
        (json!({"protocol": "SCTP"}), Some("meta l4proto sctp ".to_owned())),
        (json!({"port": "http"}), Some(format!("meta l4proto tcp {web_and_db}"))),
        (json!({"port": "http", "protocol": "UDP"}), None),
        (json!({"port": "unknown"}), None),
        (json!({"port": 80, "protocol": "DCCP"}), None),
    ] {
        let rule = expected.map(|rule| format!("{rule}return comment \"shop/p\""));
        let expected: Vec<_> = rule.into_iter().chain(["goto refuse".to_owned()]).collect();
        assert_eq!(ingress(&json!([{"ports": [port]}])), expected, "{port}");
    }
}

#[test]
fn pods_that_ended_or_use_the_host_network_are_not_known() {
    let mut ended = pod("shop", "job", 0);
    ended["status"]["phase"] = json!("Succeeded");
    let mut on_host = pod("shop", "agent", 0);
    on_host["spec"]["hostNetwork"] = json!(true);
    let ruleset = render_with(vec![linked(5, ended), linked(6, on_host)], vec![]);
    assert!(!ruleset.contains("10.90.0.5") && !ruleset.contains("10.90.0.6"));
}

#[test]
fn of_two_claims_to_an_address_the_younger_wins() {
    let mut heir = pod("ops", "heir", 0);
    heir["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    let mut heir = linked(2, heir);
    heir.link.port = "veth9".parse().unwrap();
    let ruleset = render_with(vec![heir], vec![policy("deny", &json!({"podSelector": {}}))]);
    assert!(line(&ruleset, "map ingress").ends_with("{ 10.90.0.3 : jump ingress_0 } }"));
    assert!(line(&ruleset, "set links").contains("\"veth9\" . 0a:00:00:00:00:02 . 10.90.0.2"));
    assert!(!line(&ruleset, "set links").contains("\"veth2\""));
}

#[test]
fn a_long_name_does_not_break_the_ruleset() {
    let ruleset = render(vec![policy(&"n".repeat(253), &json!({"podSelector": {}, "ingress": [{}]}))]);
    assert_eq!(chain(&ruleset, "ingress_0")[0], format!("return comment \"shop/{}\"", "n".repeat(122)));
}

#[test]
fn a_policy_that_means_nothing_is_an_error_that_names_it() {
    let bad_block = json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]});
    let bad_selector = json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Like"}]}});
    for (spec, expected) in [
        (bad_block, "policy shop/p has the block `10.0.0.0/40`, which is no network"),
        (bad_selector, "policy shop/p has a selector that means nothing"),
    ] {
        let result = render_cluster(&cluster(vec![], vec![policy("p", &spec)]), &network(Unknown::Drop));
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}
