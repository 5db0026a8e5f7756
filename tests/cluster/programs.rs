//! What a user is told while it happens: by a `ws` that still runs, and of programs that only looked a name up.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};
use ws_tests::{
    class::reading,
    command::Output,
    probe::canary,
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

use crate::{
    audited::are_told,
    way_out::{with_class, with_rules},
};

const HOST: &str = "docs.example";
/// Whose server writes down what it is asked.
const ZONE: &str = "telemetry.example";
/// How long a command may run.
const LIMIT: Duration = Duration::from_mins(5);

/// A command that runs, and what it says meanwhile.
pub(crate) struct Running {
    child: Child,
    line: String,
    pub stdout: Said,
    pub stderr: Said,
    readers: Vec<JoinHandle<()>>,
}

/// What a command has said so far.
#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Running {
    /// Starts a command that has nothing to read.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let line = format!("{:?}", command.as_std());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| line.clone())?;
        let (stdout, stderr) = (Said::default(), Said::default());
        let readers = vec![
            tokio::spawn(stdout.clone().take(child.stdout.take().context("no standard output")?)),
            tokio::spawn(stderr.clone().take(child.stderr.take().context("no standard error")?)),
        ];
        Ok(Self { child, line, stdout, stderr, readers })
    }

    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end, and for all that it says until then. May be cancelled and called again.
    pub(crate) async fn ended(&mut self) -> Result<Output> {
        let end = async {
            while let Some(reader) = self.readers.last_mut() {
                reader.await?;
                self.readers.pop();
            }
            anyhow::Ok(self.child.wait().await?)
        };
        let status = timeout(LIMIT, end).await.with_context(|| format!("{} does not end", self.line))??;
        Ok(Output {
            command: self.line.clone(),
            code: status.code(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        })
    }
}

impl Said {
    async fn take(self, mut source: impl AsyncRead + Unpin) {
        let mut piece = Vec::new();
        while let Ok(1..) = source.read_buf(&mut piece).await {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut piece);
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until it holds this.
    pub(crate) async fn holds(&self, what: &str) -> Result<()> {
        eventually(PATIENCE, what, async || {
            let text = self.text();
            ensure!(text.contains(what), "what was said: {text}");
            anyhow::Ok(Some(()))
        })
        .await
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b08_a_name_that_was_only_looked_up_is_told_as_denied() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let mut expected = Vec::new();
        for line in [
            "curl -sS --max-time 20 --noproxy '*' https://NAME/",
            "env -i curl -sS --max-time 20 https://NAME/",
            "getent ahosts NAME",
        ] {
            let name = format!("{}.{ZONE}", canary()?);
            let tried = out.bash(&line.replace("NAME", &name)).await?;
            ensure!(!tried.is_ok(), "the name is known: {tried}");
            expected.push(name);
        }
        let expected: Vec<_> = expected.iter().map(|name| (name.as_str(), "host-not-allowed")).collect();
        are_told(out, &expected).await?;
        let resolved = out.lab.resolved()?;
        for (name, _) in expected {
            ensure!(!resolved.contains(name), "{name} was asked for");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn who_follows_decisions_sees_them_as_they_come_and_hears_of_the_end() -> Result<()> {
    let rules = json!({"egress": {"rules": [reading("docs", &[HOST])]}});
    with_class(rules, async |lab, namespace, class| {
        let (ws, project) = (Ws::new(lab, namespace)?, Project::empty()?);
        let up = ["up", "--name", "followed", "--class", class, "--detach"];
        ws.run_in(project.path(), &up).await?.ok()?;
        let mut follow = Running::start(ws.command(ws.home(), &["egress", "followed", "--follow"]))?;
        ws.bash("followed", &format!("curl -sS https://{HOST}/")).await?.ok()?;
        follow.stdout.holds("allowed  GET docs.example").await?;
        // It follows by now: what comes from here on is no past.
        ws.bash("followed", &format!("curl -s https://{ZONE}/; true")).await?.ok()?;
        follow.stdout.holds("denied   CONNECT telemetry.example  host-not-allowed").await?;
        ensure!(!follow.has_ended()?, "it does not go on");

        ws.run(&["down", "followed"]).await?.ok()?;
        let ended = follow.ended().await?;
        ensure!(!ended.stderr.contains("connection to the workspace was lost"), "{ended}");
        ended.is_a_clear_refusal(&["error: workspace `followed` was ended by someone or something else"])
    })
    .await
}
