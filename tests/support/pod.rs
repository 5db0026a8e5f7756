//! Pods that are no workspaces, and what tests do to pods from outside.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    command::run,
    lab::Lab,
    wait::{PATIENCE, eventually},
};

/// The node's address in the network that [`give_ipv6`] makes, and the bridge that it is on.
const IPV6_ROUTER: &str = "fd00:90::1";
const BRIDGE: &str = "cni0";
/// Enters the network namespace of the pod whose UID is `$1`, found by a process of it, and gives it the address `$2`. While find(1) looks,
/// other pods' folders go, which it calls a failure.
const IPV6_SCRIPT: &str = "set -e; files=$(find /sys/fs/cgroup -path \"*/pod$1/*\" -name cgroup.procs || true); \
    test -n \"$files\"; pid=$(cat $files | head -n 1); \
    nsenter --net=/proc/$pid/ns/net ip -6 address add $2/64 dev eth0 nodad; \
    nsenter --net=/proc/$pid/ns/net ip -6 route add default via $3";

/// A pod that no policy of ws selects, with the rights that a workspace has. The caller adds what else it needs.
pub fn bare_pod(name: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 10000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "pod", "image": image, "command": command,
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// `object` with each of `changes` made: what is at a JSON pointer (RFC 6901) becomes the value; below a list, it is added.
pub fn changed(mut object: Value, changes: &[(&str, Value)]) -> Result<Value> {
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
        match object.pointer_mut(parent) {
            Some(Value::Array(list)) => list.push(value.clone()),
            Some(Value::Object(fields)) => drop(fields.insert(key.into(), value.clone())),
            _ => bail!("{parent} has no members"),
        }
    }
    Ok(object)
}

/// Creates `pod` and waits until it runs.
pub async fn start(lab: &Lab, namespace: &str, pod: &Value) -> Result<()> {
    lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &pod.to_string()).await?.ok()?;
    let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let object = format!("pod/{name}");
    eventually(PATIENCE, "a running pod", async || {
        anyhow::Ok((lab.fields(namespace, &object, "{.status.phase}").await? == "Running").then_some(()))
    })
    .await
}

/// Gives a running pod an IPv6 address, whose last number is `host`, and a route to everywhere: the lab's pods have neither.
pub async fn give_ipv6(lab: &Lab, namespace: &str, pod: &str, host: u16) -> Result<()> {
    let limit = Duration::from_secs(10);
    let router = format!("{IPV6_ROUTER}/64");
    let node = ["exec", "ws-node", "--", "ip", "-6", "address", "replace", &router, "dev", BRIDGE, "nodad"];
    Lab::command(&node, limit).await?.ok()?;
    let uid = lab.fields(namespace, &format!("pod/{pod}"), "{.metadata.uid}").await?;
    let mut bash = Command::new("bash");
    bash.args(["-c", IPV6_SCRIPT, "bash", &uid, &format!("fd00:90::{host:x}"), IPV6_ROUTER]);
    run(bash, limit).await?.ok().map(drop)
}
