use serde_json::{Value, json};
use ws_policy::{
    decide::decide,
    request::{Length, Request},
};

use super::*;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn class(name: &str, egress: &Value) -> ObservedClass {
    ObservedClass::of(&object(json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "WorkspaceClass", "metadata": {"name": name},
        "spec": {"image": "localhost/ws:1", "egress": egress},
    })))
}

fn rule(name: &str, host: &str) -> Value {
    json!({"name": name, "hosts": [host], "allow": [{"methods": ["GET"], "paths": ["/"]}]})
}

fn workspace(uid: &str, class: Option<&str>, picks: Option<&[&str]>) -> Option<ObservedWorkspace> {
    ObservedWorkspace::of(&object(json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": uid, "namespace": "team-a", "uid": uid},
        "spec": {"sshPublicKeys": [], "egress": picks}, "status": {"className": class},
    })))
}

fn reaches(policies: &Policies, uid: &str, host: &str) -> bool {
    let url = format!("https://{host}/").parse().unwrap();
    let request = Request::absolute(http::Method::GET, &url, Length::None).unwrap();
    policies.of(uid).is_ok_and(|policy| decide(&policy, &request).is_ok())
}

#[test]
fn a_workspace_reaches_what_it_picked_of_its_class() {
    let mut policies = Policies::default();
    policies.insert_workspace(workspace("all", Some("c"), None).unwrap());
    policies.insert_workspace(workspace("one", Some("c"), Some(&["b", "missing"])).unwrap());
    policies.insert_workspace(workspace("none", Some("c"), Some(&[])).unwrap());
    policies.insert_class(class("c", &json!({"rules": [rule("a", "a.example"), rule("b", "b.example")]})));
    let reached = |uid| ["a.example", "b.example"].map(|host| reaches(&policies, uid, host));
    assert_eq!(reached("all"), [true, true]);
    assert_eq!(reached("one"), [false, true]);
    assert_eq!(reached("none"), [false, false]);
    assert_eq!(reached("other"), [false, false]);
}

#[test]
fn b26_a_class_that_becomes_invalid_or_goes_denies_at_once() {
    let mut policies = Policies::default();
    let valid = json!({"rules": [rule("a", "a.example")]});
    policies.insert_class(class("c", &valid));
    policies.insert_workspace(workspace("w", Some("c"), None).unwrap());
    assert!(reaches(&policies, "w", "a.example"));

    policies.insert_class(class("c", &json!({"rules": [rule("a", "*.example")]})));
    let said = policies.of("w").unwrap_err().to_string();
    assert!(said.starts_with("class \"c\" is invalid, so nothing is allowed: egress rule \"a\""), "{said}");
    policies.insert_class(class("c", &json!({"rules": "all"})));
    assert!(matches!(policies.of("w"), Err(NoPolicy::Invalid { .. })), "not even read");

    policies.replace_classes(vec![class("c", &valid)]);
    assert!(reaches(&policies, "w", "a.example"));
    policies.remove_class("c");
    assert_eq!(policies.of("w").unwrap_err(), NoPolicy::NoClass("c".to_owned()));
    policies.insert_class(class("c", &valid));
    policies.remove_workspace("w");
    assert_eq!(policies.of("w").unwrap_err(), NoPolicy::Unknown);
}

#[test]
fn a_workspace_without_a_class_yet_is_not_known() {
    assert!(workspace("w", None, None).is_none());
}
