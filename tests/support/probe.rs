//! Tries to reach addresses from a pod: from a workspace, and from a pod that nothing contains as the positive control.

use std::{cell::RefCell, fs::File, io::Read as _, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    command::{Output, run_with_input},
    lab::Lab,
    pod,
    ws::Ws,
};

/// Addresses of the fake internet.
pub const INTERNET: &str = "20.0.113.66";
pub const INTERNET_V6: &str = "2600:db8:1::1";
/// Of its web server, which most names lead to.
pub const WEB: &str = "20.0.114.80";

const SCRIPT: &str = include_str!("probe.py");

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Tcp,
    Udp,
}

/// An address, and what to send there.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    pub kind: Kind,
    pub host: String,
    pub port: u16,
    pub payload: String,
}

impl Target {
    pub fn tcp(host: &str, port: u16, payload: &str) -> Self {
        Self { kind: Kind::Tcp, host: host.into(), port, payload: payload.into() }
    }

    pub fn udp(host: &str, port: u16, payload: &str) -> Self {
        Self { kind: Kind::Udp, host: host.into(), port, payload: payload.into() }
    }
}

/// Which of the targets the workspace reaches.
pub async fn from_workspace(ws: &Ws, name: &str, targets: &[Target]) -> Result<Vec<Target>> {
    let arguments = ["attach", name, "--", "python3", "-c", SCRIPT];
    reached(&ws.run_with_input(serde_json::to_vec(targets)?, &arguments).await?.ok()?, targets)
}

/// Which of the targets a pod in `namespace` reaches.
pub async fn from_pod(lab: &Lab, namespace: &str, pod: &str, targets: &[Target]) -> Result<Vec<Target>> {
    let command = lab.kubectl_command(&["-n", namespace, "exec", "-i", pod, "--", "python3", "-c", SCRIPT]);
    reached(
        &run_with_input(command, serde_json::to_vec(targets)?, Duration::from_mins(1)).await?.ok()?,
        targets,
    )
}

fn reached(output: &Output, targets: &[Target]) -> Result<Vec<Target>> {
    let answers: Vec<bool> = serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
    Ok(targets
        .iter()
        .zip(answers)
        .filter(|(_, reached)| *reached)
        .map(|(target, _)| target.clone())
        .collect())
}

/// A pod of the workspaces' image that is no workspace: no policy selects it.
pub async fn open_pod(lab: &Lab, namespace: &str, name: &str) -> Result<()> {
    open_pod_of(lab, namespace, name, &lab.workspace_image().await?).await
}

/// A pod of `image` that no policy selects.
pub async fn open_pod_of(lab: &Lab, namespace: &str, name: &str, image: &str) -> Result<()> {
    pod::start(lab, namespace, &pod::bare_pod(name, image, &["sleep", "3600"])).await
}

thread_local! {
    /// What [`canary`] returned on this thread, which is the test's own.
    static CANARIES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// 128 random bits that no other test sends.
pub fn canary() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let canary = format!("{:032x}", u128::from_be_bytes(bytes));
    CANARIES.with_borrow_mut(|canaries| canaries.push(canary.clone()));
    Ok(canary)
}

/// All that this test has got from [`canary`].
pub fn canaries() -> Vec<String> {
    CANARIES.with_borrow(Clone::clone)
}
