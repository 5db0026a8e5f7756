//! A pod without any wall, as the control for those of a workspace.

use anyhow::Result;
use serde_json::json;

use crate::{
    lab::Lab,
    namespace::{create, delete, unique_name},
    pod,
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
    let nothing = json!({"privileged": true, "runAsUser": 0, "seccompProfile": {"type": "Unconfined"}});
    let changes = [("/spec/securityContext", json!({})), ("/spec/containers/0/securityContext", nothing)];
    pod::start(lab, namespace, &pod::changed(pod::bare_pod("open", &image, &["sleep", "3600"]), &changes)?)
        .await
}
