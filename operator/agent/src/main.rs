//! `ws-agent`: see the library's documentation.

use std::{env, fs, fs::File, io::Write as _, process::ExitCode, time::Instant};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use ws_agent::{
    confine,
    hand_over::{self, SERVE},
    stdio,
    workspace::Workspace,
};
use ws_api::{
    agent::INSTALL,
    termination::{self, Ending, Reason},
};

/// Enough for one connection's cryptography beside everything else.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let began = Instant::now();
    tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(std::io::stderr).init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => end(&misconfigured(&hand_over::replace().into())),
        [command] if *command == SERVE => end(&serve(began).unwrap_or_else(|error| misconfigured(&error))),
        ["stdio"] => finish(carry()),
        [command, path] if *command == INSTALL => finish(install(path)),
        _ => {
            tracing::error!("usage: ws-agent [serve | stdio | install PATH]");
            ExitCode::from(2)
        }
    }
}

fn finish(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Copies this program to `path`, for nodes that cannot mount its image into a workspace.
fn install(path: &str) -> anyhow::Result<()> {
    let own = env::current_exe()?;
    // A copy keeps the permissions, so it can be run by whoever can run this.
    fs::copy(own, path).with_context(|| format!("copying the agent to {path}")).map(drop)
}

fn serve(began: Instant) -> anyhow::Result<Ending> {
    let host_key = hand_over::receive()?;
    confine::confine()?;
    let workspace = Workspace::new(host_key, began, env::vars_os())?;
    let runtime = runtime(WORKERS)?;
    let ending = runtime.block_on(workspace.live());
    // A transfer may still run on a thread; the process ends without it.
    runtime.shutdown_background();
    Ok(ending?)
}

fn carry() -> anyhow::Result<()> {
    // The container's variables are in this process too, the host key among them, and nobody can take them out of a process
    // that `exec` starts. What runs in the workspace must neither read them nor take over a process without the filter. An
    // agent that its user may execute and not read, as in the stock image, is hidden by the kernel from its first
    // instruction; any other one can be read until here, for about a millisecond of each connection.
    confine::confine()?;
    let runtime = runtime(1)?;
    let carried = runtime.block_on(stdio::run()).context("carrying a connection to the agent");
    // Standard input is read by a thread that cannot be stopped.
    runtime.shutdown_background();
    carried
}

fn runtime(workers: usize) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().context("starting the runtime")
}

fn misconfigured(error: &anyhow::Error) -> Ending {
    Ending { reason: Reason::Misconfigured, message: format!("{error:#}") }
}

/// Leaves the reason where the kubelet finds it.
fn end(ending: &Ending) -> ExitCode {
    tracing::info!("{:?}: {}", ending.reason, ending.message);
    let message = ending.to_message();
    let written = File::options().write(true).truncate(true).open(termination::PATH);
    if let Err(error) = written.and_then(|mut file| file.write_all(message.as_bytes())) {
        tracing::warn!(%error, "cannot leave the reason");
    }
    match ending.reason {
        Reason::Idle | Reason::Terminated => ExitCode::SUCCESS,
        Reason::EgressNotEnforced
        | Reason::GatewayUnreachable
        | Reason::EgressBreach
        | Reason::Misconfigured => ExitCode::FAILURE,
    }
}
