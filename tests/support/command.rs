//! Runs a program to its end, within a time, and keeps all it said.

use std::{ffi::OsStr, fmt, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// What a program did. Print it in assertions: it says the command, the exit code and both outputs.
#[derive(Clone, Debug)]
pub struct Output {
    pub command: String,
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Fails with everything that the program said, unless it ended with 0.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.is_ok(), "{self}");
        Ok(self)
    }

    /// Fails unless the program ended with this code.
    pub fn code(self, expected: i32) -> Result<Self> {
        ensure!(self.code == Some(expected), "expected exit code {expected}: {self}");
        Ok(self)
    }

    /// Fails unless the program refused as ws does: one error that says each of `what`, a next step, exit code 1.
    pub fn is_a_clear_refusal(self, what: &[&str]) -> Result<()> {
        let output = self.code(1)?;
        for word in what {
            ensure!(output.stderr.contains(word), "`{word}` is not said: {output}");
        }
        ensure!(output.stderr.to_lowercase().contains("hint:"), "no next step: {output}");
        let broke = output.stderr.contains("panicked") || output.stderr.contains("RUST_BACKTRACE");
        ensure!(!broke, "{output}");
        Ok(())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("a signal".to_owned(), |code| code.to_string());
        write!(
            f,
            "`{}` ended with {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.stdout, self.stderr
        )
    }
}

/// Runs `command` with nothing on its standard input; kills it after `limit`.
pub async fn run(command: Command, limit: Duration) -> Result<Output> {
    run_with_input(command, Vec::new(), limit).await
}

/// Runs `command` with `input` on its standard input; kills it after `limit`.
pub async fn run_with_input(mut command: Command, input: Vec<u8>, limit: Duration) -> Result<Output> {
    let line = describe(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("`{line}`"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let feed = tokio::spawn(async move {
        // A program that doesn't want all of its input is its own business.
        stdin.write_all(&input).await.ok();
    });
    let Ok(output) = timeout(limit, child.wait_with_output()).await else {
        bail!("`{line}` did not end within {limit:?}")
    };
    let output = output?;
    feed.abort();
    Ok(Output {
        command: line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn describe(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
