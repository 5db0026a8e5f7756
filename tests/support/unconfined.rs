//! A pod without any wall, as the control for those of a workspace.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::{
    lab::Lab,
    namespace::{create, delete, unique_name},
    wait::eventually,
};

/// A pod of the workspaces' image that is root and that neither Kubernetes nor ws confines.
pub struct Unconfined {
    namespace: String,
}

impl Unconfined {
    /// kubectl's arguments to run a command in it.
    pub fn exec(&self) -> Vec<&str> {
        vec!["-n", &self.namespace, "exec", "open", "--"]
    }
}

/// Runs `test` with such a pod, in a namespace of its own that is deleted afterwards.
pub async fn with_unconfined_pod<T>(
    lab: &Lab,
    test: impl AsyncFnOnce(&Unconfined) -> Result<T>,
) -> Result<T> {
    let pod = Unconfined { namespace: unique_name() };
    create(lab, &pod.namespace, "privileged").await?;
    let outcome = async {
        start(lab, &pod.namespace).await?;
        test(&pod).await
    }
    .await;
    delete(lab, &pod.namespace).await?;
    outcome
}

async fn start(lab: &Lab, namespace: &str) -> Result<()> {
    let image = lab.workspace_image().await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open"},
        "spec": {
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "pod", "image": image, "command": ["sleep", "3600"],
                "securityContext": {
                    "privileged": true, "runAsUser": 0, "seccompProfile": {"type": "Unconfined"},
                },
            }],
        },
    });
    lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &pod.to_string()).await?.ok()?;
    let get = ["-n", namespace, "get", "pod", "open", "-o", "jsonpath={.status.phase}"];
    eventually(Duration::from_secs(20), "a running pod", async || {
        anyhow::Ok((lab.kubectl(&get).await?.ok()?.stdout == "Running").then_some(()))
    })
    .await
}
