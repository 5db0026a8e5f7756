//! The `ws` command, with a home of its own.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    command::{Output, run, run_with_input},
    lab::Lab,
};

/// How long a command of `ws` may take here. Generous: two cores run the cluster and the tests.
const LIMIT: Duration = Duration::from_mins(2);

/// A user of ws: a home, a kubeconfig, a namespace.
pub struct Ws {
    program: PathBuf,
    home: TempDir,
    kubeconfig: PathBuf,
    namespace: String,
}

impl Ws {
    pub fn new(lab: &Lab, namespace: &str) -> Result<Self> {
        Ok(Self {
            program: lab.program("ws")?,
            home: tempfile::Builder::new().prefix("ws-home-").tempdir()?,
            kubeconfig: lab.kubeconfig().to_owned(),
            namespace: namespace.to_owned(),
        })
    }

    /// Another kubeconfig, for other users and broken ones.
    #[must_use]
    pub fn with_kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.kubeconfig = path.into();
        self
    }

    /// Gives the user's home to another user of this machine, with copies of what they use. Their commands have to be started
    /// with their number.
    pub async fn owned_by(mut self, user: u32, lab: &Lab) -> Result<Self> {
        let (program, kubeconfig) = (self.home().join("ws"), self.home().join("kubeconfig"));
        fs::copy(&self.program, &program)?;
        // The lab's names files that only root can read.
        let config = lab.kubectl(&["config", "view", "--raw", "--flatten"]).await?.ok()?;
        fs::write(&kubeconfig, config.stdout)?;
        for path in [self.home(), &program, &kubeconfig] {
            chown(path, Some(user), Some(user))?;
        }
        (self.program, self.kubeconfig) = (program, kubeconfig);
        Ok(self)
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where `ws` keeps what belongs to sessions.
    pub fn state(&self) -> PathBuf {
        self.home().join(".local/state/ws")
    }

    /// The command with these arguments, to be run in `folder`.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/bin:/bin")
            .env("KUBECONFIG", &self.kubeconfig);
        command.args(["-n", &self.namespace]).args(arguments).current_dir(folder);
        command
    }

    /// Runs it in the user's home.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.run_in(self.home(), arguments).await
    }

    /// Runs it in `folder`.
    pub async fn run_in(&self, folder: &Path, arguments: &[&str]) -> Result<Output> {
        run(self.command(folder, arguments), LIMIT).await
    }

    /// Runs it with `input` on its standard input.
    pub async fn run_with_input(&self, input: Vec<u8>, arguments: &[&str]) -> Result<Output> {
        run_with_input(self.command(self.home(), arguments), input, LIMIT).await
    }

    /// Starts it in `folder` and lets it run, its outputs thrown away.
    pub fn start(&self, folder: &Path, arguments: &[&str]) -> Result<Child> {
        let mut command = self.command(folder, arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().context("ws")
    }

    /// Makes a workspace of `folder` that stays.
    pub async fn up(&self, name: &str, folder: &Path) -> Result<()> {
        let folder = folder.to_str().context("a folder of the tests has a name in UTF-8")?;
        self.run(&["up", folder, "--name", name, "--detach"]).await?.ok().map(drop)
    }

    /// What the gateway decided last on a workspace, the first first.
    pub async fn decisions(&self, name: &str) -> Result<Vec<serde_json::Value>> {
        let told = self.run(&["egress", name, "--json"]).await?.ok()?;
        Ok(told.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// Runs a line of bash in a workspace.
    pub async fn bash(&self, name: &str, line: &str) -> Result<Output> {
        self.run(&["attach", name, "--", "bash", "-c", line]).await
    }
}
