//! `ws`: makes disposable workspaces on a Kubernetes cluster and works in them.
//!
//! ```text
//! args ─▶ commands ─▶ cluster    create, watch, delete the Workspace
//!                     upload     pack the project meanwhile
//!                     dial       carrier (port-forward, exec) ─▶ ssh
//!                     agents     how coding agents are started
//!                     session    a shell, a command or an agent on it
//!                     expiry     keep what changed before its time is over
//!                     ending     keep what changed, destroy, see to it
//! ```
//!
//! What comes from a pod is hostile: bounded where it is read, escaped where it is printed, never run.

mod agents;
mod args;
mod carrier;
mod changes;
mod cluster;
mod commands;
mod decisions;
mod denied;
mod dial;
mod ending;
mod error;
mod expiry;
mod interrupt;
mod lockfiles;
mod names;
mod owned;
mod project;
mod pulled;
mod results;
mod session;
mod ssh;
mod state;
mod subsystem;
mod terminal;
mod ui;
mod units;
mod upload;

use std::{io, process::ExitCode};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, Global},
    commands::{Context, dispatch},
    error::Error,
    interrupt::Interrupts,
    ui::{Ui, Verbosity},
};

fn main() -> ExitCode {
    // clap prints its own errors and ends with 2.
    let cli = Cli::parse();
    terminal::restore_on_panic();
    log(&cli.global);
    let ui = Ui::new(verbosity(&cli.global), cli.global.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&ui, &Error::internal(format!("the runtime does not start: {error}"))),
    };
    let code = runtime.block_on(run(cli, ui));
    // A thread may still wait for a key, and would wait on.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli, ui: Ui) -> ExitCode {
    let interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return fail(&ui, &Error::internal(format!("signals cannot be taken: {error}"))),
    };
    let mut context = Context { ui, interrupts, options: (&cli.global).into() };
    match dispatch(cli.command, &mut context).await {
        Ok(code) => {
            context.ui.clear();
            ExitCode::from(code)
        }
        Err(error) => fail(&context.ui, &error),
    }
}

fn fail(ui: &Ui, error: &Error) -> ExitCode {
    ui.error(error);
    ExitCode::from(error.kind.exit_code())
}

fn verbosity(global: &Global) -> Verbosity {
    match (global.quiet, global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, _) => Verbosity::Verbose,
    }
}

/// Logs of the libraries, for those who ask twice. They are written by the subscriber, which escapes control characters.
fn log(global: &Global) {
    if global.verbose > 1 {
        let filter = EnvFilter::new("info,ws=debug,kube_client=debug,tower_http=debug");
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
    }
}
