//! A pod of the workspaces' image in which stock sshd runs, with its defaults, and a port-forward to it.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use ws_tests::{
    command::{Output, run, run_with_input},
    lab::Lab,
    probe::open_pod,
};

pub(crate) const POD: &str = "rival";
const LIMIT: Duration = Duration::from_mins(10);

/// Unpacks sshd and the libraries that the image lacks from an archive on its standard input, and starts it on loopback.
const START: &str = "mkdir -p /tmp/sshd && cd /tmp/sshd && tar x && ssh-keygen -q -t ed25519 -N '' -f host && chmod 600 authorized && \
    (LD_LIBRARY_PATH=/tmp/sshd/lib setsid /tmp/sshd/sshd -D -f /dev/null -p 2200 -h /tmp/sshd/host -o ListenAddress=127.0.0.1 \
    -o UsePAM=no -o StrictModes=no -o PidFile=none -o AuthorizedKeysFile=/tmp/sshd/authorized </dev/null >/dev/null 2>&1 &) && \
    until (: </dev/tcp/127.0.0.1/2200) 2>/dev/null; do sleep 0.1; done";

pub(crate) struct Rival {
    folder: TempDir,
    port: u16,
    _forward: Child,
}

impl Rival {
    /// `SSHD_FOLDER` in the environment names the folder that sshd's package is unpacked in.
    pub(crate) async fn start(lab: &Lab, namespace: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        bash(&folder, "ssh-keygen -q -t ed25519 -N '' -f id && mkdir lib && cp id.pub authorized && cp \"$SSHD_FOLDER\"/usr/sbin/sshd . && \
            LD_LIBRARY_PATH=$(echo \"$SSHD_FOLDER\"/usr/lib/*-linux-gnu) ldd sshd | awk '$3 ~ /^\\// {print $3}' | grep -vE '/(libc|libm|libresolv)\\.' | xargs cp -t lib && \
            tar c sshd lib authorized > sshd.tar").await?.ok()?;
        open_pod(lab, namespace, POD).await?;
        let archive = std::fs::read(folder.path().join("sshd.tar"))?;
        let unpack = lab.kubectl_command(&["-n", namespace, "exec", "-i", POD, "--", "bash", "-c", START]);
        run_with_input(unpack, archive, LIMIT).await?.ok()?;
        let mut forward = lab.kubectl_command(&["-n", namespace, "port-forward", POD, ":2200"]);
        let mut forward = forward.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let stdout = forward.stdout.take().context("no output")?;
        let mut said = BufReader::new(stdout).lines();
        let line = said.next_line().await?.context("kubectl port-forward said nothing")?;
        // It ends when nobody reads what it says about each connection.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let port =
            line.split(':').nth(1).and_then(|rest| rest.split(' ').next()).context(line.clone())?.parse()?;
        Ok(Self { folder, port, _forward: forward })
    }

    /// The options that a user would give `ssh`, as one line of a shell.
    pub(crate) fn ssh(&self) -> String {
        format!(
            "ssh -F none -p {} -i {}/id -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            self.port,
            self.folder.path().display()
        )
    }

    /// Runs a line of bash on this machine.
    pub(crate) async fn bash(&self, line: &str) -> Result<Output> {
        bash(&self.folder, line).await
    }
}

async fn bash(folder: &TempDir, line: &str) -> Result<Output> {
    let mut bash = Command::new("bash");
    bash.args(["-o", "pipefail", "-c", line]).current_dir(folder.path());
    run(bash, LIMIT).await
}
