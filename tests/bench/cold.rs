//! From nothing to the first byte of a command's output.
//!
//! Rival: a bare pod of the same image, created through the API, watched until its container runs, and a command run in it
//! with `exec`, all on one open connection. ws is measured as a user has it: from the start of its process.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{AttachParams, DeleteParams, PostParams, WatchEvent, WatchParams},
};
use tokio::io::AsyncReadExt as _;
use ws_tests::{namespace::with_namespace, pod, project::Project, ws::Ws};

use crate::report::{Bar, Report, Samples};

const ROUNDS: usize = 15;

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let (mut bare, mut ours) = (Samples::new(), Samples::new());
    with_namespace(async |lab, namespace| {
        let pods: Api<Pod> = Api::namespaced(lab.client().await?, namespace);
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        let image = lab.workspace_image().await?;
        for round in 0..ROUNDS {
            bare.push_ms(bare_pod(&pods, &format!("bare-{round}"), &image).await?);
            ours.push_ms(workspace(&ws, &project).await?);
        }
        Ok(())
    })
    .await?;
    report.ratio(
        "cold start to first output byte",
        "ms",
        ("bare pod, exec", &bare),
        &ours,
        // The aim is 1.25.
        Some(Bar::AtMost(1.5)),
    );
    Ok(())
}

async fn workspace(ws: &Ws, project: &Project) -> Result<Duration> {
    let mut command = ws.command(project.path(), &["run", "--", "echo", "x"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn()?;
    child.stdout.take().context("no output")?.read_u8().await.context("ws run printed nothing")?;
    let elapsed = start.elapsed();
    child.wait().await?;
    Ok(elapsed)
}

async fn bare_pod(pods: &Api<Pod>, name: &str, image: &str) -> Result<Duration> {
    let start = Instant::now();
    start_bare_pod(pods, name, image).await?;
    let mut exec = pods.exec(name, ["echo", "x"], &AttachParams::default().stderr(false)).await?;
    exec.stdout().context("no output")?.read_u8().await?;
    let elapsed = start.elapsed();
    pods.delete(name, &DeleteParams::default()).await?;
    Ok(elapsed)
}

/// Creates a bare pod, and returns as soon as the API says that its container runs.
pub(crate) async fn start_bare_pod(pods: &Api<Pod>, name: &str, image: &str) -> Result<()> {
    let pod = serde_json::from_value(pod::bare_pod(name, image, &["sleep", "600"]))?;
    let created = pods.create(&PostParams::default(), &pod).await?;
    let version = created.metadata.resource_version.context("a created object has a version")?;
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(pods.watch(&only, &version).await?);
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Modified(pod) = event
            && pod.status.and_then(|status| status.phase).as_deref() == Some("Running")
        {
            return Ok(());
        }
    }
    bail!("the watch of {name} ended")
}
