//! What a user is told while it happens: by a `ws` that still runs, and of programs that only looked a name up.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
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
    names::ZONE,
    way_out::{with_class, with_rules},
};

const HOST: &str = "docs.example";
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

/// The line by which a user is told of a host that no rule of the class names.
pub(crate) fn denial(host: &str, class: &str) -> String {
    format!("{host} denied: no rule names it · ask your admin or see `ws policy explain {class}`")
}

/// Fails unless this was said once while the session of a workspace lasted. What its last line sums up: what was allowed, and what was
/// denied.
pub(crate) fn told_once<'a>(session: &'a Output, name: &str, said: &str) -> Result<(&'a str, &'a str)> {
    let lines: Vec<&str> = session.stderr.lines().collect();
    let told: Vec<usize> =
        (0..).zip(&lines).filter(|(_, line)| line.ends_with(said)).map(|(at, _)| at).collect();
    let end = lines.iter().position(|line| line.contains(&format!("{name} is gone: ")));
    ensure!(
        matches!((&told[..], end), ([told], Some(end)) if *told < end),
        "said once, before the end: {session}"
    );
    let sum = lines.last().context("a last line")?;
    sum.split_once(" denied (").context("both are summed up")
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
        let json = ["egress", "followed", "--follow", "--json"];
        let mut json = Running::start(ws.command(ws.home(), &json))?;
        ws.bash("followed", &format!("curl -sS https://{HOST}/")).await?.ok()?;
        follow.stdout.holds("allowed  GET docs.example").await?;
        // It follows by now: what comes from here on is no past.
        ws.bash("followed", &format!("curl -s https://{ZONE}/; true")).await?.ok()?;
        follow.stdout.holds("denied   CONNECT telemetry.example  host-not-allowed").await?;
        json.stdout.holds("host-not-allowed").await?;
        ensure!(!follow.has_ended()? && !json.has_ended()?, "it does not go on");

        let decisions = ws.decisions("followed").await?;
        ws.run(&["down", "followed"]).await?.ok()?;
        let ended = follow.ended().await?;
        ensure!(!ended.stderr.contains("connection to the workspace was lost"), "{ended}");
        ended.is_a_clear_refusal(&["error: workspace `followed` was ended by someone or something else"])?;
        let ended = json.ended().await?.code(1)?;
        let lines = ended.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
        ensure!(lines.with_context(|| ended.to_string())? == decisions, "{decisions:?}: {ended}");
        let error: Value = serde_json::from_str(&ended.stderr).with_context(|| ended.to_string())?;
        let error = error["error"]["message"].as_str().unwrap_or_default();
        ensure!(error == "workspace `followed` was ended by someone or something else", "{ended}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn ws_run_says_a_denied_host_once_while_it_lasts_and_sums_up_at_its_end() -> Result<()> {
    let rules = json!({"egress": {"rules": [reading("docs", &[HOST])]}});
    with_class(rules, async |lab, namespace, class| {
        let (ws, project) = (Ws::new(lab, namespace)?, Project::empty()?);
        let line = format!(
            "curl -sS https://{HOST}/; curl -s https://{ZONE}/ https://{ZONE}/; \
             until [ -e ~/go ]; do sleep 0.1; done"
        );
        let run = ["run", "--name", "ran", "--class", class, "--", &line];
        let mut run = Running::start(ws.command(project.path(), &run))?;
        let said = denial(ZONE, class);
        run.stderr.holds(&said).await?;
        ensure!(!run.has_ended()?, "it is said when it is over");
        // What was said once is no news, also where it goes on.
        ws.bash("ran", &format!("curl -s https://{ZONE}/; true")).await?.ok()?;
        eventually(PATIENCE, "each refusal in the status", async || {
            let denied = lab.fields(namespace, "workspace/ran", "{.status.egress.denied}").await?;
            anyhow::Ok((denied == "3").then_some(()))
        })
        .await?;
        ws.bash("ran", "touch ~/go").await?.ok()?;
        let session = run.ended().await?.ok()?;
        ensure!(session.stdout.contains("ws-lab docs"), "{session}");
        let (allowed, denied) = told_once(&session, "ran", &said)?;
        let is_summed = allowed.starts_with("1 request allowed (") && allowed.ends_with(" B by docs), 3");
        ensure!(is_summed && denied == format!("{ZONE} 3×)"), "{session}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn the_last_line_says_also_what_was_asked_at_the_very_end() -> Result<()> {
    let rules = json!({"egress": {"rules": [reading("docs", &[HOST])]}});
    with_class(rules, async |lab, namespace, class| {
        let (ws, project) = (Ws::new(lab, namespace)?, Project::empty()?);
        // The refusal is written down at once, and the rest would have to wait for its turn.
        let line =
            format!("curl -s https://{ZONE}/; curl -sS https://{HOST}/ https://{HOST}/ https://{HOST}/");
        for _ in 0..5 {
            let session = ws.run_in(project.path(), &["run", "--class", class, "--", &line]).await?.ok()?;
            let last = session.stderr.lines().last().unwrap_or_default();
            let is_whole = last.starts_with("3 requests allowed (")
                && last.ends_with(&format!(" by docs), 1 denied ({ZONE} 1×)"));
            ensure!(is_whole, "{session}");
        }
        Ok(())
    })
    .await
}
