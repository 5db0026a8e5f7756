//! Clusters that only pretend to enforce NetworkPolicy, or do so late. Installs ws from the manifests, the admin's other way.
//!
//! Boots the lab anew for each test, so it runs alone.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::process::Command;
use ws_tests::{
    command::run, lab::Lab, namespace::with_namespace, probe::canary, project::Project, wait::eventually,
    ws::Ws,
};

/// How late the slow enforcer is.
const DELAY: Duration = Duration::from_secs(3);
/// How long the agents of these tests wait for an enforcement that never comes.
const DEADLINE: &str = "WS_ISOLATION_DEADLINE=8s";

async fn cluster_with_enforcer(enforcer: &str) -> Result<Lab> {
    let limit = Duration::from_mins(2);
    Lab::command(&["down"], limit).await?.ok()?;
    Lab::command(&["up", "--enforcer", enforcer], limit).await?.ok()?;
    let mut install = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh"));
    install.arg("manifests");
    run(install, 2 * limit).await?.ok()?;
    Lab::running().await
}

/// Whether the bytes are in a file of any container on the node.
async fn is_in_a_container(lab: &Lab, bytes: &str) -> Result<bool> {
    let mut grep = Command::new("grep");
    grep.args(["-rqF", "-s", "--devices=skip", bytes]).arg(lab.snapshots());
    Ok(run(grep, Duration::from_mins(1)).await?.is_ok())
}

/// Waits until the workspace has failed for `reason`.
async fn fails(lab: &Lab, namespace: &str, workspace: &str, reason: &str, limit: Duration) -> Result<()> {
    let expected = format!("Failed/{reason}");
    let question = "jsonpath={.status.phase}/{.status.conditions[?(@.type=='Ready')].reason}";
    let get = ["-n", namespace, "get", "workspace", workspace, "-o", question];
    eventually(limit, &expected, async || {
        anyhow::Ok((lab.kubectl(&get).await?.ok()?.stdout == expected).then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_cluster_that_does_not_enforce_is_found_out_before_a_byte_is_on_it() -> Result<()> {
    let lab = cluster_with_enforcer("off").await?;
    let operator = ["-n", lab.ws_namespace(), "set", "env", "deployment/ws-operator", DEADLINE];
    lab.kubectl(&operator).await?.ok()?;
    lab.kubectl(&["-n", lab.ws_namespace(), "rollout", "status", "deployment/ws-operator"]).await?.ok()?;
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        let project = Project::sample()?.with("canary.txt", &canary)?;
        let refused = ws.run_in(project.path(), &["up", "--name", "leaky", "--detach"]).await?.code(1)?;
        ensure!(refused.stderr.contains("EgressNotEnforced"), "{refused}");
        ensure!(!is_in_a_container(lab, &canary).await?, "the project was on the cluster");
        Ok(())
    })
    .await?;
    // The same, seen by an admin who keeps the object.
    with_namespace(async |lab, namespace| {
        let workspace = serde_json::json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "leaky", "namespace": namespace},
            "spec": {"sshPublicKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFO/4UYtQoHTSC3QLPTcN3zBr2kVB0OvIghKbYXjyFCr"]},
        });
        lab.kubectl_with(&["create", "-f", "-"], &workspace.to_string()).await?.ok()?;
        fails(lab, namespace, "leaky", "EgressNotEnforced", Duration::from_secs(40)).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_slow_enforcer_is_waited_for() -> Result<()> {
    cluster_with_enforcer(&format!("slow:{}", DELAY.as_millis())).await?;
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        let project = Project::sample()?.with("canary.txt", &canary)?;
        let started = tokio::time::Instant::now();
        ws.up("late", project.path()).await?;
        ensure!(started.elapsed() > DELAY, "ready before the policy was in force: {:?}", started.elapsed());
        // The control of the other test's search.
        ensure!(is_in_a_container(lab, &canary).await?, "the search finds nothing");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_session_ends_when_the_cluster_stops_to_enforce() -> Result<()> {
    // The agent looks every 30 s and gives what it asks a second to answer.
    const NOTICED: Duration = Duration::from_secs(35);
    cluster_with_enforcer("on").await?;
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("breached", Project::empty()?.path()).await?;
        // Before, the session outlives a look.
        ws.bash("breached", &format!("sleep {}", NOTICED.as_secs())).await?.ok()?;
        for family in ["inet", "bridge"] {
            let table = ["exec", "ws-node", "--", "nft", "delete", "table", family, "ws_netpol"];
            Lab::command(&table, Duration::from_secs(5)).await?.ok()?;
        }
        fails(lab, namespace, "breached", "EgressBreach", NOTICED + Duration::from_secs(5)).await?;
        let refused = ws.bash("breached", "true").await?.code(1)?;
        ensure!(refused.stderr.contains("EgressBreach"), "{refused}");
        Ok(())
    })
    .await
}
