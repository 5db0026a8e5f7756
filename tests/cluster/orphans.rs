//! However the command ends, no pod stays behind.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::{Instant, sleep, timeout},
};
use ws_tests::{
    class,
    command::Output,
    lab::Lab,
    namespace::{SOON, nothing_is_left, with_namespace},
    project::Project,
    wait::{PATIENCE, eventually},
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
    eventually(PATIENCE, stage, async || {
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
            ensure!(asked.elapsed() < SOON, "{name}: {:?}", asked.elapsed());
            nothing_is_left(lab, namespace, SOON).await
        })
        .await?;
    }
    Ok(())
}

/// Moments in the rest of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Upload,
    Program,
    Saving,
    Deleting,
}

const MOMENTS: [Moment; 4] = [Moment::Upload, Moment::Program, Moment::Saving, Moment::Deleting];
/// Changes that take a while to be saved.
const CHANGE: &str = "head -c 64M /dev/urandom > change.bin";
/// Sessions at a time: the node has two cores.
const AT_ONCE: usize = 2;
/// How often a session may be past the moment before its end is asked for.
const ATTEMPTS: usize = 5;

/// A project that takes a while to be sent.
fn large() -> Result<Project> {
    let project = Project::sample()?;
    let mut random = File::open("/dev/urandom")?.take(200 << 20);
    io::copy(&mut random, &mut File::create(project.file("large.bin"))?)?;
    Ok(project)
}

/// A class whose idle workspaces end soon, and of which many fit on the node.
async fn impatient(lab: &Lab) -> Result<String> {
    class::create(lab, json!({"lifetime": {"idle": "5s"}, "resources": {"requests": {"cpu": "50m"}}})).await
}

/// Whether `ws` remembers something under this name of its only workspace.
fn remembers(ws: &Ws, name: &str) -> Result<bool> {
    let workspaces = fs::read_dir(ws.state().join("workspaces"))?;
    Ok(workspaces.flatten().any(|workspace| workspace.path().join(name).exists()))
}

/// Sets the finalizers of the pod, which cannot go as long as it has any.
async fn hold(lab: &Lab, namespace: &str, finalizers: &str) -> Result<Output> {
    let patch = format!(r#"{{"metadata": {{"finalizers": {finalizers}}}}}"#);
    let arguments = ["-n", namespace, "patch", "pod", "victim", "--type=merge", "-p", &patch];
    lab.kubectl(&arguments).await
}

impl Moment {
    fn program(self) -> String {
        match self {
            Self::Upload => "true".to_owned(),
            Self::Program => "echo here; sleep 600".to_owned(),
            // Long enough for the pod to be held back.
            Self::Deleting => "echo here; sleep 2".to_owned(),
            Self::Saving => format!("{CHANGE}; echo here"),
        }
    }

    /// Waits for the moment. False if it was over before this process looked, as happens on a busy machine.
    async fn reached(self, lab: &Lab, namespace: &str, ws: &Ws, session: &mut Child) -> Result<bool> {
        if self == Self::Upload {
            let [.., ready] = STAGES;
            reached(lab, namespace, ready).await?;
            return Ok(!remembers(ws, "baseline")?);
        }
        let output = session.stdout.as_mut().context("the output is read")?;
        let mut line = String::new();
        timeout(PATIENCE, BufReader::new(output).read_line(&mut line)).await??;
        ensure!(line == "here\n", "{line}");
        if self == Self::Saving {
            sleep(Duration::from_millis(300)).await;
            return Ok(!remembers(ws, "changes.patch")?);
        }
        if self == Self::Deleting {
            if !hold(lab, namespace, r#"["tests.ws.dev/hold"]"#).await?.is_ok() {
                return Ok(false);
            }
            let question = ["get", "workspace", "victim", "-o", "jsonpath={.metadata.deletionTimestamp}"];
            reached(lab, namespace, ("the workspace is being deleted", &question)).await?;
        }
        Ok(true)
    }

    /// Runs a session up to the moment and ends it: with these signals, or without any by force.
    async fn end(self, project: &Project, signals: &[&str]) -> Result<()> {
        for _ in 0..ATTEMPTS {
            if self.is_caught(project, signals).await.with_context(|| format!("{self:?}, {signals:?}"))? {
                return Ok(());
            }
        }
        bail!("{self:?} was over each of {ATTEMPTS} times before it could be ended with {signals:?}")
    }

    /// False if the session was past the moment already.
    async fn is_caught(self, project: &Project, signals: &[&str]) -> Result<bool> {
        let mut is_caught = true;
        with_namespace(async |lab, namespace| {
            let (ws, class) = (Ws::new(lab, namespace)?, impatient(lab).await?);
            let program = self.program();
            let arguments = ["run", "--name", "victim", "--class", &class, "--", &program];
            let mut command = ws.command(project.path(), &arguments);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
            let mut session = command.spawn()?;
            is_caught = self.reached(lab, namespace, &ws, &mut session).await?;
            if !is_caught {
                // It goes by itself, or with its namespace.
                return class::delete(lab, &class).await;
            }
            for name in signals {
                signal(&session, name).await?;
            }
            if signals.is_empty() {
                session.kill().await?;
            }
            if self == Self::Deleting {
                hold(lab, namespace, "null").await?.ok()?;
            }
            if signals.is_empty() {
                nothing_is_left(lab, namespace, Duration::from_secs(40)).await?;
            } else {
                let status = timeout(PATIENCE, session.wait()).await??;
                // A program that has ended well stays so, and what it changed is kept.
                let was_done = matches!(self, Self::Saving | Self::Deleting);
                ensure!(status.success() == was_done, "{status}");
                ensure!(remembers(&ws, "changes.patch")? == (self == Self::Saving), "the patch");
                nothing_is_left(lab, namespace, SOON).await?;
            }
            class::delete(lab, &class).await
        })
        .await?;
        Ok(is_caught)
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_session_that_is_killed_at_any_moment_leaves_nothing() -> Result<()> {
    let (large, small) = (large()?, Project::sample()?);
    let project = |moment: Moment| if moment == Moment::Upload { &large } else { &small };
    let killed = stream::iter(MOMENTS).map(|moment| moment.end(project(moment), &[]));
    killed.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    a_down_that_is_killed().await
}

/// Ends a `ws down` by force while it saves the changes.
async fn a_down_that_is_killed() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, class, project) = (Ws::new(lab, namespace)?, impatient(lab).await?, Project::sample()?);
        ws.run_in(project.path(), &["up", "--name", "victim", "--class", &class, "--detach"]).await?.ok()?;
        ws.bash("victim", CHANGE).await?.ok()?;
        let mut down = ws.start(project.path(), &["down", "victim"])?;
        sleep(Duration::from_millis(500)).await;
        ensure!(down.try_wait()?.is_none(), "the command has ended");
        down.kill().await?;
        nothing_is_left(lab, namespace, Duration::from_secs(40)).await?;
        class::delete(lab, &class).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_session_that_is_told_to_end_at_any_moment_destroys_its_workspace() -> Result<()> {
    let (large, small) = (large()?, Project::sample()?);
    let project = |moment: Moment| if moment == Moment::Upload { &large } else { &small };
    // A terminal that is closed sends SIGHUP twice at once.
    let signals: [&[&str]; 3] = [&["INT"], &["TERM"], &["HUP", "HUP"]];
    let sessions = MOMENTS.iter().flat_map(|moment| signals.map(|signals| (*moment, signals)));
    let ended = stream::iter(sessions).map(|(moment, signals)| moment.end(project(moment), signals));
    ended.buffer_unordered(AT_ONCE).try_collect().await
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
