//! `lab`: a real one-node Kubernetes on this machine, in network namespaces of its own, beside a fake internet and a
//! company network. Everything is built from pinned sources, and nothing leaves the machine.

mod build;
mod certificates;
mod cgroups;
mod cluster;
mod command;
mod components;
mod conformance;
mod containerd;
mod down;
mod enforcement;
mod hosts;
mod images;
mod internet;
mod kubeconfig;
mod lock;
mod mounts;
mod network;
mod packages;
mod paths;
mod pins;
mod process;
mod progress;
mod state;
mod status;
mod sysctls;
mod up;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use build::Binaries;
use containerd::Containerd;
use enforcement::Enforcement;
use images::Archive;
use lock::Lock;
use network::namespace;
use paths::Cache;
use pins::Selection;
use progress::{Progress, answer};
use state::State;

/// Run a real one-node Kubernetes on this machine
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build the binaries of the lab at their pinned versions
    Build {
        /// Also build Kubernetes' end-to-end tests and agnhost
        #[arg(long)]
        conformance: bool,
    },
    /// Start a lab; one that crashed is cleaned up first
    Up {
        /// How NetworkPolicy is treated: on, off or slow:MILLISECONDS
        #[arg(long, default_value_t, value_name = "MODE")]
        enforcer: Enforcement,
    },
    /// Stop the lab and remove every trace of it
    Down,
    /// Show what runs; exit code 1 if no lab is ready
    Status {
        /// Print JSON, with all paths and addresses that a test needs
        #[arg(long)]
        json: bool,
    },
    /// Print the path of the admin's kubeconfig
    Kubeconfig,
    /// Print the path of the log of everything that reached the lab's outer networks
    Sinks,
    /// Build ws's images and print the paths of their archives
    Images {
        /// Copy them to this registry instead, and print their references there
        #[arg(long, value_name = "REGISTRY")]
        push: Option<String>,
        /// Build the one with many languages' toolchains too, which only the cluster tests use
        #[arg(long, conflicts_with = "push")]
        toolchains: bool,
    },
    /// Import image archives into the running lab
    Load {
        /// OCI or docker archives
        #[arg(required = true, value_name = "IMAGE.tar")]
        archives: Vec<PathBuf>,
    },
    /// Run Kubernetes' own NetworkPolicy tests and write their summary; needs that no lab is up
    Conformance,
    /// Run a command in one of the lab's network namespaces
    #[command(hide = true)]
    Exec {
        /// ws-node, ws-internet or ws-company
        namespace: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Serve the sinks of a network
    #[command(hide = true)]
    Internet(internet::Args),
    /// Enforce NetworkPolicy on the node
    #[command(hide = true)]
    Enforcer(ws_lab_enforcer::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().verb).await {
        Ok(code) => code,
        Err(error) => {
            Progress::begin().note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Result<ExitCode> {
    let progress = Progress::begin();
    match verb {
        Verb::Build { conformance } => {
            let selection = if conformance { Selection::Conformance } else { Selection::Lab };
            let cache = Cache::locate()?;
            let binaries = build::ensure(&cache, selection, &progress)?;
            images::ensure_own(&cache, &binaries, &progress)?;
            answer(&binaries.folder().display().to_string())?;
        }
        Verb::Up { enforcer } => up::run(enforcer, progress).await?,
        Verb::Down => down::run(&progress)?,
        Verb::Status { json } => {
            let ready = status::run(json)?;
            return Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Kubeconfig => answer(&paths::kubeconfig().display().to_string())?,
        Verb::Sinks => answer(&paths::sinks().display().to_string())?,
        Verb::Images { push: Some(registry), .. } => {
            for reference in images::publish(&Cache::locate()?, &registry, &progress)? {
                answer(&reference)?;
            }
        }
        Verb::Images { push: None, toolchains } => {
            for Archive(path) in images::ensure_all(&Cache::locate()?, toolchains, &progress)? {
                answer(&path.display().to_string())?;
            }
        }
        Verb::Load { archives } => load(archives, &progress)?,
        Verb::Conformance => conformance::run(progress).await?,
        Verb::Exec { namespace, command } => return exec(&namespace, &command),
        Verb::Internet(args) => internet::run(args).await?,
        Verb::Enforcer(args) => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
            ws_lab_enforcer::run(args).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load(archives: Vec<PathBuf>, progress: &Progress) -> Result<()> {
    let _lock = Lock::acquire(Path::new(paths::LOCK), "command that changes the lab", progress)?;
    let state = State::load()?.filter(|state| state.ready).context("there is no lab to load images into")?;
    let root = state.containerd.context("a lab without containerd")?;
    let archives: Vec<Archive> = archives.into_iter().map(Archive).collect();
    images::load(&Containerd::new(&Binaries::at(state.binaries)), &root, &archives, progress)
}

/// Becomes the command; returns only if that fails.
fn exec(namespace: &str, command: &[OsString]) -> Result<ExitCode> {
    if !network::NAMESPACES.contains(&namespace) {
        bail!("{namespace} is not one of {}", network::NAMESPACES.join(", "));
    }
    let (program, arguments) = command.split_first().context("no command")?;
    // A thread that replaces the process hands its own network on.
    namespace::move_this_thread(namespace)?;
    Err(Command::new(program).args(arguments).exec())
        .with_context(|| format!("running {}", program.display()))
}
