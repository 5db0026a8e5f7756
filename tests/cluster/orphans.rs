//! However the command ends, no pod stays behind.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;
use ws_tests::{
    class,
    lab::Lab,
    namespace::{SOON, nothing_is_left, with_namespace},
    project::Project,
    wait::eventually,
    ws::Ws,
};

use crate::errors::signal;

/// Moments in the start of a session, as what is on the cluster by then.
const STAGES: [(&str, &[&str]); 4] = [
    ("the workspace is created", &["get", "workspace", "victim", "-o", "jsonpath={.metadata.uid}"]),
    ("the pod is created", &["get", "pod", "victim", "-o", "jsonpath={.metadata.uid}"]),
    (
        "the container runs",
        &["get", "pod", "victim", "-o", "jsonpath={.status.containerStatuses[0].state.running.startedAt}"],
    ),
    ("the workspace is ready", &["get", "workspace", "victim", "-o", "jsonpath={.status.timings.ready}"]),
];

async fn reached(lab: &Lab, namespace: &str, (stage, question): (&str, &[&str])) -> Result<()> {
    eventually(Duration::from_secs(30), stage, async || {
        let answer = lab.kubectl(&[&["-n", namespace], question].concat()).await?;
        anyhow::Ok((answer.is_ok() && !answer.stdout.is_empty()).then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_command_that_is_killed_at_any_stage_leaves_nothing() -> Result<()> {
    for stage in STAGES {
        with_namespace(async |lab, namespace| {
            let ws = Ws::new(lab, namespace)?;
            let class = class::create(lab, json!({"lifetime": {"idle": "5s"}})).await?;
            let project = Project::sample()?;
            let mut child = ws.start(
                project.path(),
                &["run", "--name", "victim", "--class", &class, "--", "sleep", "600"],
            )?;
            reached(lab, namespace, stage).await?;
            child.kill().await?;
            nothing_is_left(lab, namespace, Duration::from_secs(40)).await?;
            class::delete(lab, &class).await
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_command_that_is_told_to_end_destroys_its_workspace_at_any_stage() -> Result<()> {
    for (stage, name) in STAGES.into_iter().zip(["INT", "TERM", "HUP", "INT"]) {
        with_namespace(async |lab, namespace| {
            let ws = Ws::new(lab, namespace)?;
            let project = Project::sample()?;
            let mut child = ws.start(project.path(), &["run", "--name", "victim", "--", "sleep", "600"])?;
            reached(lab, namespace, stage).await?;
            signal(&child, name).await?;
            let asked = Instant::now();
            let status = child.wait().await?;
            ensure!(!status.success(), "{name} at the stage where {}", stage.0);
            ensure!(asked.elapsed() < Duration::from_secs(15), "{name}: {:?}", asked.elapsed());
            nothing_is_left(lab, namespace, SOON).await
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_workspace_in_use_is_not_idle() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let class = class::create(lab, json!({"lifetime": {"idle": "5s"}})).await?;
        let project = Project::sample()?;
        let run = ws
            .run_in(project.path(), &["run", "--class", &class, "--", "bash", "-c", "sleep 15; echo alive"])
            .await?;
        assert_eq!(run.ok()?.stdout, "alive\n");
        class::delete(lab, &class).await
    })
    .await
}
