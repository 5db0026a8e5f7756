//! A namespace for one test.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use futures::FutureExt as _;

use crate::{
    diagnostics,
    lab::Lab,
    wait::{PATIENCE, eventually},
};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Runs `test` in a fresh namespace that enforces Pod Security *restricted*, prints the cluster's state if it fails, and
/// deletes the namespace.
pub async fn with_namespace(test: impl AsyncFnOnce(&Lab, &str) -> Result<()>) -> Result<()> {
    let lab = Lab::running().await?;
    let name = unique_name();
    create(&lab, &name, "restricted").await?;
    let outcome = AssertUnwindSafe(test(&lab, &name)).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        diagnostics::print(&lab, &name).await;
    }
    delete(&lab, &name).await?;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Creates a namespace at this level of the
/// [Pod Security Standards](https://kubernetes.io/docs/concepts/security/pod-security-standards/).
pub async fn create(lab: &Lab, name: &str, level: &str) -> Result<()> {
    lab.kubectl(&["create", "namespace", name]).await?.ok()?;
    let label = format!("pod-security.kubernetes.io/enforce={level}");
    lab.kubectl(&["label", "namespace", name, &label]).await?.ok()?;
    // Pods are refused until the controller manager has made it.
    eventually(PATIENCE, "a default service account", async || {
        let account = lab.kubectl(&["-n", name, "get", "serviceaccount", "default"]).await?;
        anyhow::Ok(account.is_ok().then_some(()))
    })
    .await
}

/// Objects that ws makes in a user's namespace.
const KINDS: &str = "workspaces,pods,secrets,networkpolicies";

/// Time for everything to be gone once something is being deleted.
pub const SOON: Duration = Duration::from_secs(30);

/// Fails unless, within `limit`, nothing of ws is left in the namespace.
pub async fn nothing_is_left(lab: &Lab, namespace: &str, limit: Duration) -> Result<()> {
    eventually(limit, "an empty namespace", async || {
        let objects = lab.kubectl(&["-n", namespace, "get", KINDS, "-o", "name"]).await?.ok()?;
        ensure!(objects.stdout.is_empty(), "left: {}", objects.stdout);
        anyhow::Ok(Some(()))
    })
    .await
}

pub async fn delete(lab: &Lab, name: &str) -> Result<()> {
    lab.kubectl(&["delete", "namespace", name, "--wait=false"]).await?.ok().map(drop)
}

/// A name that no other test of this machine has.
pub fn unique_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!(
        "t{}-{}-{}",
        now.as_millis() % 100_000_000,
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}
