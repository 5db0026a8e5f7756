//! Pods that are no workspaces.

use serde_json::{Value, json};

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
