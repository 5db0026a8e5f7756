//! A user with a home, a kubeconfig and nothing else.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// Where a user lives. Paths of it are replaced in outputs, so that these can be compared.
pub(crate) struct Environment {
    folder: TempDir,
    server: Option<String>,
}

/// What a command did, as a text to be compared as a whole.
#[must_use = "compare it, or look at its code"]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Environment {
    /// Without a kubeconfig.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ws-cli-").tempdir().unwrap();
        fs::create_dir_all(folder.path().join("home/project")).unwrap();
        fs::write(folder.path().join("home/project/file.txt"), "text\n").unwrap();
        Self { folder, server: None }
    }

    /// With a kubeconfig of one context, `here`, whose API server is at `server`.
    pub(crate) fn with_server(server: &str) -> Self {
        let environment = Self { server: Some(server.to_owned()), ..Self::new() };
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        });
        fs::create_dir(environment.home().join(".kube")).unwrap();
        fs::write(environment.home().join(".kube/config"), kubeconfig.to_string()).unwrap();
        environment
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.home().join("project")
    }

    /// Where the command remembers workspaces.
    pub(crate) fn state(&self) -> PathBuf {
        self.home().join(".local/state/ws/workspaces")
    }

    /// The command, to be run in `folder`.
    pub(crate) fn command_in(&self, folder: &Path, arguments: &[&str]) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_ws")), folder, arguments)
    }

    /// The command as one that was started to ignore these signals.
    pub(crate) fn command_ignoring(&self, signals: &str, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/env");
        command.args([&format!("--ignore-signal={signals}"), env!("CARGO_BIN_EXE_ws")]);
        self.prepared(command, folder, arguments)
    }

    fn prepared(&self, mut command: Command, folder: &Path, arguments: &[&str]) -> Command {
        command
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", self.folder.path());
        command.current_dir(folder).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the command in the project.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.outcome(&self.command_in(&self.project(), arguments).output().unwrap())
    }

    pub(crate) fn outcome(&self, output: &Output) -> Outcome {
        Outcome {
            code: output.status.code(),
            stdout: self.portable(&output.stdout),
            stderr: self.portable(&output.stderr),
        }
    }

    fn portable(&self, bytes: &[u8]) -> String {
        let mut text = String::from_utf8(bytes.to_vec()).unwrap();
        for folder in [self.folder.path().canonicalize().unwrap(), self.folder.path().to_owned()] {
            text = text.replace(folder.to_str().unwrap(), "$TMP");
        }
        if let Some(server) = &self.server {
            text = text.replace(server, "$SERVER");
        }
        text
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        write!(
            f,
            "exit code: {code}\n--- standard output\n{}--- standard error\n{}",
            self.stdout, self.stderr
        )
    }
}
