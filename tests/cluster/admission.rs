//! What the admission policies leave to an operator that is taken over: the tests act in its name, and nothing is stored.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ws_tests::{command::Output, lab::Lab, namespace::with_namespace, pod::changed};

/// Name and UID of a workspace, as a pod of it says.
const NAME: &str = "held";
const UID: &str = "6f6b1f0e-0000-4000-8000-000000000001";

fn labels() -> Value {
    json!({"app.kubernetes.io/managed-by": "ws", "ws.dev/class": "default"})
}

fn owned(name: &str) -> Value {
    let owner = json!({"apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "name": NAME, "uid": UID});
    json!({"name": name, "labels": labels(), "ownerReferences": [owner]})
}

/// A pod as the operator makes it.
fn pod() -> Value {
    let host_key = json!({"name": format!("{NAME}-host-key-{UID}"), "key": "ssh-host-key"});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": owned(NAME),
        "spec": {
            "automountServiceAccountToken": false, "activeDeadlineSeconds": 60,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 10000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "workspace", "image": "localhost/never-run:1",
                "env": [
                    {"name": "WS_GATEWAY", "value": "10.96.0.7"},
                    {"name": "WS_HOST_KEY", "valueFrom": {"secretKeyRef": host_key}},
                    {"name": "WS_PRINCIPAL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
                ],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// The network policy of class `default` as the operator applies it.
fn network_policy(gateway_namespace: &str) -> Value {
    let gateway = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": gateway_namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "ws-gateway"}},
    });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "ws-class-default"},
        "spec": {
            "podSelector": {"matchLabels": labels()}, "policyTypes": ["Ingress", "Egress"],
            "egress": [{"to": [gateway], "ports": [{"protocol": "TCP", "port": 3128}]}],
        },
    })
}

fn secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": owned("held-host-key")})
}

/// Runs kubectl in the operator's name.
async fn as_operator(lab: &Lab, arguments: &[&str], manifest: &Value) -> Result<Output> {
    let name = format!("--as=system:serviceaccount:{}:ws-operator", lab.ws_namespace());
    lab.kubectl_with(&[arguments, &[&name]].concat(), &manifest.to_string()).await
}

async fn create(lab: &Lab, namespace: &str, object: &Value) -> Result<Output> {
    as_operator(lab, &["-n", namespace, "create", "--dry-run=server", "-f", "-"], object).await
}

fn is_denied_by(policy: &str, what: &str, output: &Output) -> Result<()> {
    let by = format!("ValidatingAdmissionPolicy '{policy}'");
    ensure!(!output.is_ok() && output.stderr.contains(&by), "{what} is not denied by {policy}: {output}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_taken_over_operator_makes_no_pod_but_a_contained_one() -> Result<()> {
    with_namespace(async |lab, namespace| {
        // So that it is not Pod Security that refuses.
        let label = "pod-security.kubernetes.io/enforce=privileged";
        lab.kubectl(&["label", "--overwrite", "namespace", namespace, label]).await?.ok()?;
        create(lab, namespace, &pod()).await?.ok()?;

        let secret =
            json!({"name": "STOLEN", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}});
        let config =
            json!({"name": "READ", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "url"}}});
        let mut second = pod()["spec"]["containers"][0].clone();
        second["name"] = json!("second");
        second["env"] = json!([secret.clone()]);
        for (what, pointer, value) in [
            ("another Secret", "/spec/containers/0/env/-", secret),
            ("a ConfigMap", "/spec/containers/0/env/-", config),
            ("all of a Secret", "/spec/containers/0/envFrom", json!([{"secretRef": {"name": "database"}}])),
            ("another Secret in an init container", "/spec/initContainers", json!([second])),
            (
                "a Secret's volume",
                "/spec/volumes",
                json!([{"name": "v", "secret": {"secretName": "database"}}]),
            ),
            ("root", "/spec/containers/0/securityContext/runAsUser", json!(0)),
            ("maybe root", "/spec/containers/0/securityContext/runAsNonRoot", json!(false)),
            (
                "all system calls",
                "/spec/containers/0/securityContext/seccompProfile",
                json!({"type": "Unconfined"}),
            ),
            ("privilege", "/spec/containers/0/securityContext/capabilities", json!({"add": ["NET_ADMIN"]})),
            ("the node's network", "/spec/hostNetwork", json!(true)),
            ("a token", "/spec/automountServiceAccountToken", json!(true)),
            ("no end", "/spec/activeDeadlineSeconds", Value::Null),
            ("no owner", "/metadata/ownerReferences", json!([])),
            ("no policy", "/metadata/labels", json!({})),
        ] {
            let changed = changed(pod(), &[(pointer, value)])?;
            is_denied_by("ws-operator-pods", what, &create(lab, namespace, &changed).await?)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_taken_over_operator_writes_no_network_policy_but_those_of_classes() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let own = || network_policy(lab.ws_namespace());
        create(lab, namespace, &own()).await?.ok()?;

        let everywhere = json!({"ipBlock": {"cidr": "0.0.0.0/0"}});
        for (what, pointer, value) in [
            ("another's name", "/metadata/name", json!("allow-all")),
            ("another class", "/metadata/name", json!("ws-class-other")),
            ("all pods", "/spec/podSelector", json!({})),
            ("a way out for all", "/spec/egress", json!([{}])),
            ("a way out to everywhere", "/spec/egress/0/to/-", everywhere),
            ("a way in", "/spec/ingress", json!([{}])),
        ] {
            let changed = changed(own(), &[(pointer, value)])?;
            is_denied_by("ws-operator-networkpolicies", what, &create(lab, namespace, &changed).await?)?;
        }

        let theirs = changed(own(), &[("/metadata/name", json!("theirs"))])?;
        lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &theirs.to_string()).await?.ok()?;
        let path =
            format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/theirs?dryRun=All");
        let deleted = as_operator(lab, &["delete", "--raw", &path], &Value::Null).await?;
        is_denied_by("ws-operator-networkpolicies", "the deletion of another's", &deleted)
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_taken_over_operator_makes_no_secret_but_host_keys() -> Result<()> {
    with_namespace(async |lab, namespace| {
        create(lab, namespace, &secret()).await?.ok()?;
        let token = [
            ("/metadata/annotations", json!({"kubernetes.io/service-account.name": "default"})),
            ("/type", json!("kubernetes.io/service-account-token")),
        ];
        let nobodys = [("/metadata/ownerReferences", json!([]))];
        for (what, changes) in [("a token", token.as_slice()), ("nobody's Secret", &nobodys)] {
            let changed = changed(secret(), changes)?;
            is_denied_by("ws-operator-secrets", what, &create(lab, namespace, &changed).await?)?;
        }
        Ok(())
    })
    .await
}
