//! Stock OpenSSH as the client of a workspace.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::process::Command;

use ws_api::workspace::{Phase, Workspace};

use crate::{
    command::{Output, run, run_with_input},
    lab::Lab,
    wait::{PATIENCE, eventually},
};

const LIMIT: Duration = Duration::from_secs(90);

/// A workspace made with kubectl, and all that `ssh` needs to log in.
pub struct Stock {
    folder: TempDir,
    proxy: String,
}

impl Stock {
    /// Creates the workspace `name` for a new key and waits until it is ready.
    pub async fn up(lab: &Lab, namespace: &str, name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ws-ssh-").tempdir()?;
        // sshd's and ssh's rules: nobody else may read a private key.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let proxy = format!(
            "{} --kubeconfig {} -n {namespace} exec -i {name} -- /ws/ws-agent stdio",
            lab.program_path("kubectl").display(),
            lab.kubeconfig().display(),
        );
        let session = Self { folder, proxy };
        session.key("id").await?;
        let workspace = serde_json::json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name, "namespace": namespace},
            "spec": {"sshPublicKeys": [session.public_key("id")?]},
        });
        lab.kubectl_with(&["create", "-f", "-"], &workspace.to_string()).await?.ok()?;
        let get = ["-n", namespace, "get", "workspace", name, "-o", "json"];
        let ssh = eventually(PATIENCE, "phase Ready", async || {
            let object: Workspace = serde_json::from_str(&lab.kubectl(&get).await?.ok()?.stdout)?;
            anyhow::Ok(
                object
                    .status
                    .filter(|status| status.phase == Some(Phase::Ready))
                    .and_then(|status| status.ssh),
            )
        })
        .await?;
        fs::write(session.path("known_hosts"), format!("workspace {}\n", ssh.host_key))?;
        fs::write(session.path("id-cert.pub"), ssh.certificates.first().context("no certificate")?)?;
        Ok(session)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key pair in this session's folder.
    pub async fn key(&self, name: &str) -> Result<()> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(self.path(name));
        run(keygen, LIMIT).await?.ok().map(drop)
    }

    pub fn public_key(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.path(&format!("{name}.pub")))?.trim().to_owned())
    }

    /// `ssh` with the key of this session, further options, and this command.
    pub fn command(&self, options: &[&str], remote: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null"]);
        // The first value given to an option counts, so the caller's come before the defaults.
        ssh.args(options).args(["-l", ws_api::ssh::USER]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        ssh.arg("-o").arg(format!("ProxyCommand={}", self.proxy));
        // `id-cert.pub` beside it is used by itself.
        ssh.arg("-i").arg(self.path("id")).arg("workspace").args(remote);
        ssh
    }

    pub async fn run(&self, options: &[&str], remote: &[&str]) -> Result<Output> {
        run(self.command(options, remote), LIMIT).await
    }

    pub async fn run_with_input(&self, input: Vec<u8>, remote: &[&str]) -> Result<Output> {
        run_with_input(self.command(&[], remote), input, LIMIT).await
    }
}
