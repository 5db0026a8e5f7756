//! What needs the cluster to itself, after the cluster tests in the same lab: what changes it for all, or takes its processors.
//!
//! The operator dies after each of its writes, and everything converges, nothing is orphaned: the installed one is scaled to
//! nothing meanwhile, and one beside the cluster takes its place, behind a proxy that kills it.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use ws_tests::{
    api_proxy::ApiProxy,
    lab::Lab,
    namespace::{SOON, nothing_is_left, with_namespace},
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

#[path = "alone/crowd.rs"]
mod crowd;
#[path = "alone/flips.rs"]
mod flips;
#[path = "alone/gateways.rs"]
mod gateways;
#[path = "alone/replicas.rs"]
mod replicas;
#[path = "alone/start.rs"]
mod start;

/// More than the operator writes for one workspace: a sweep that has not ended by itself before never will.
const ENOUGH: usize = 20;

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_operator_that_dies_after_any_of_its_writes_leaves_no_orphan() -> Result<()> {
    let lab = Lab::running().await?;
    scale_operator(&lab, 0).await?;
    let outcome = sweep().await;
    scale_operator(&lab, 2).await?;
    let crashes = outcome?;
    ensure!(crashes >= 4, "the operator was killed {crashes} times only: nothing is proven");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn another_replica_takes_over_from_a_leader_that_is_gone() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let leader =
            ["-n", lab.ws_namespace(), "get", "leases", "-o", "jsonpath={.items[0].spec.holderIdentity}"];
        let first = eventually(Duration::from_mins(1), "a leader", async || {
            let leader = lab.kubectl(&leader).await?.ok()?.stdout;
            anyhow::Ok(Some(leader).filter(|leader| !leader.is_empty()))
        })
        .await?;
        let kill = ["-n", lab.ws_namespace(), "delete", "pod", first.as_str(), "--grace-period=0", "--force"];
        lab.kubectl(&kill).await?.ok()?;
        let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
        let run = ws.run_in(project.path(), &["run", "--", "echo", "led"]).await?.ok()?;
        assert_eq!(run.stdout, "led\n");
        let second = lab.kubectl(&leader).await?.ok()?.stdout;
        ensure!(!second.is_empty() && second != first, "{second} leads after {first}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn without_a_default_class_a_user_hears_what_to_do() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let annotate = async |annotation: &str| {
            lab.kubectl(&["annotate", "workspaceclass", "default", annotation]).await?.ok().map(drop)
        };
        let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
        annotate("ws.dev/is-default-class-").await?;
        let refused = ws.run_in(project.path(), &["up", "--detach"]).await;
        annotate("ws.dev/is-default-class=true").await?;
        refused?.is_a_clear_refusal(&["no class is the default", "hint: name a class with --class"])?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

/// Number of writes after which the operator was killed.
async fn sweep() -> Result<usize> {
    for fatal in 1..ENOUGH {
        let mut was_killed = false;
        with_namespace(async |lab, namespace| {
            was_killed = session_survives_a_crash(lab, namespace, fatal).await?;
            Ok(())
        })
        .await?;
        if !was_killed {
            return Ok(fatal - 1);
        }
    }
    bail!("an operator that is killed after write {ENOUGH} still has more to write")
}

/// Runs a session while the operator dies after write `fatal` and is started again. False if there were fewer writes.
async fn session_survives_a_crash(lab: &Lab, namespace: &str, fatal: usize) -> Result<bool> {
    let folder = TempDir::new()?;
    let proxy = ApiProxy::start(lab, fatal).await?;
    let mut doomed = operator(lab, &proxy.kubeconfig(folder.path())?)?;
    let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
    let session =
        async { ws.run_in(project.path(), &["run", "--name", "crash", "--", "echo", "survived"]).await };
    tokio::pin!(session);
    let finished = tokio::select! {
        output = &mut session => Some(output?),
        killed = proxy.fatal_write() => { killed?; None }
    };
    doomed.kill().await?;
    let heir_proxy = ApiProxy::start(lab, 0).await?;
    let mut heir = operator(lab, &heir_proxy.kubeconfig(folder.path())?)?;
    let was_killed = finished.is_none();
    let output = match finished {
        Some(output) => output,
        None => session.await?,
    };
    ensure!(output.clone().ok()?.stdout == "survived\n", "after write {fatal}: {output}");
    nothing_is_left(lab, namespace, SOON).await?;
    heir.kill().await?;
    Ok(was_killed)
}

/// The operator as a process of this machine.
fn operator(lab: &Lab, kubeconfig: &Path) -> Result<Child> {
    let mut command = Command::new(lab.program("ws-operator")?);
    command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.args([
        "run",
        "--namespace",
        lab.ws_namespace(),
        "--no-leader-election",
        "--admin",
        "127.0.0.1:0",
    ]);
    command
        .args(["--api-server", "10.96.0.1:443", "--stock-image", "ghcr.io/ws-dev/workspace"])
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn scale_operator(lab: &Lab, replicas: u8) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    lab.kubectl(&["-n", lab.ws_namespace(), "scale", "deployment", "ws-operator", &replicas]).await?.ok()?;
    let select =
        ["-n", lab.ws_namespace(), "get", "pods", "-l", "app.kubernetes.io/name=ws-operator", "-o", "name"];
    eventually(PATIENCE, "the scaled operator", async || {
        let pods = lab.kubectl(&select).await?.ok()?.stdout;
        anyhow::Ok((pods.is_empty() == (replicas == "--replicas=0")).then_some(()))
    })
    .await
}
