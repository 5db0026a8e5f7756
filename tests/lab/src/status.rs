//! `lab status`: what runs, and where the tests find everything.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::build::Binaries;
use crate::enforcement::Enforcement;
use crate::network::{self, Addresses};
use crate::paths::{self, Cache};
use crate::process::Process;
use crate::progress::answer;
use crate::state::State;

/// The lab as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// All components were started and all still run.
    ready: bool,
    enforcement: Option<Enforcement>,
    kubeconfig: PathBuf,
    /// The folder with kubectl, helm and the rest.
    binaries: PathBuf,
    logs: PathBuf,
    /// Every byte that reached the internet, the company network or a metadata address.
    sinks: PathBuf,
    /// Every request that the internet's web server got.
    hosts: PathBuf,
    /// Every request that the internet's providers of models got.
    models: PathBuf,
    /// Every frame that the internet's host got that converses.
    talks: PathBuf,
    /// Every request that changed something on the API server.
    audit: PathBuf,
    /// containerd's root, which holds the layers of all containers.
    containerd: PathBuf,
    namespaces: Namespaces,
    addresses: Addresses,
    components: BTreeMap<String, Component>,
    /// Proportional set size of all components.
    memory_mebibytes: u64,
}

#[derive(Debug, Serialize)]
struct Namespaces {
    node: &'static str,
    internet: &'static str,
    company: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    pid: i32,
    alive: bool,
    memory_mebibytes: u64,
}

impl Component {
    fn observe(process: Process) -> Self {
        Self {
            pid: process.pid(),
            alive: process.is_alive(),
            memory_mebibytes: process.memory_kib().unwrap_or(0) / 1024,
        }
    }
}

/// Prints the state of the lab; fails if there is none that is ready.
pub fn run(json: bool) -> Result<bool> {
    let status = observe()?;
    if json {
        answer(&serde_json::to_string_pretty(&status)?)?;
    } else {
        print(&status)?;
    }
    Ok(status.ready)
}

fn observe() -> Result<Status> {
    let cache = Cache::locate()?;
    let state = State::load()?;
    let enforcement = state.as_ref().map(|state| state.enforcement);
    let completed = state.as_ref().is_some_and(|state| state.ready);
    let processes = state.map(|state| state.processes).unwrap_or_default();
    let components: BTreeMap<String, Component> =
        processes.into_iter().map(|(name, process)| (name, Component::observe(process))).collect();
    Ok(Status {
        ready: completed && components.values().all(|component| component.alive),
        enforcement,
        kubeconfig: paths::kubeconfig(),
        binaries: Binaries::locate(&cache)?.folder().to_owned(),
        logs: cache.logs(),
        sinks: paths::sinks(),
        hosts: paths::hosts(),
        models: paths::models(),
        talks: paths::talks(),
        audit: paths::audit(),
        containerd: cache.containerd(),
        namespaces: Namespaces {
            node: network::NODE,
            internet: network::INTERNET,
            company: network::COMPANY,
        },
        addresses: Addresses::of_the_lab(),
        memory_mebibytes: components.values().map(|component| component.memory_mebibytes).sum(),
        components,
    })
}

fn print(status: &Status) -> Result<()> {
    let Some(enforcement) = status.enforcement else {
        answer("no lab")?;
        return Ok(());
    };
    let readiness = if status.ready { "up" } else { "not complete" };
    answer(&format!("{readiness}, enforcer {enforcement}, {} MiB", status.memory_mebibytes))?;
    answer(&format!("KUBECONFIG={}", status.kubeconfig.display()))?;
    answer(&format!("binaries   {}", status.binaries.display()))?;
    answer(&format!("logs       {}", status.logs.display()))?;
    for (name, Component { pid, alive, memory_mebibytes }) in &status.components {
        let state = if *alive { "runs" } else { "ended" };
        answer(&format!("{name:26} {state:5} pid {pid:7} {memory_mebibytes:5} MiB"))?;
    }
    Ok(())
}
