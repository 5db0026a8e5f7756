//! `lab down`: takes apart whatever there is of a lab, complete, half-made or crashed, and leaves no trace but the
//! cache.
//!
//! The state says what was started. A crash between a start and the writing of the state loses nothing: every process
//! of a lab is in one of its network namespaces or in a pod's cgroup, and is found there.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::build::Binaries;
use crate::containerd::Containerd;
use crate::lock::Lock;
use crate::network::namespace;
use crate::paths;
use crate::process::{self, Process};
use crate::progress::Progress;
use crate::state::State;
use crate::{cgroups, mounts, network, sysctls};

/// How long a killed process may stay: only a stuck kernel takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long what a killed start has begun may still write.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// Takes the lab down, if there is one.
pub fn run(progress: &Progress) -> Result<()> {
    let _lock = Lock::acquire(Path::new(paths::LOCK), "command that changes the lab", progress)?;
    if !clear(progress)? {
        progress.note("there is no lab");
    }
    Ok(())
}

/// Takes apart what there is; returns whether there was anything. The caller holds the lock.
pub fn clear(progress: &Progress) -> Result<bool> {
    let state = State::load()?;
    let is_there = state.is_some()
        || [paths::RUN, paths::VAR].iter().any(|folder| Path::new(folder).exists())
        || network::NAMESPACES.iter().any(|name| namespace::exists(name));
    if !is_there {
        return Ok(false);
    }
    let state = state.unwrap_or_default();
    end_control_plane(&state)?;
    process::kill(&cgroups::processes(), PATIENCE).context("ending the pods")?;
    let forgotten = end_containerd(&state)?;
    process::kill(&members()?, PATIENCE).context("ending what is left in the lab's networks")?;
    // Containers that a killed shim was starting.
    process::kill(&cgroups::processes(), PATIENCE).context("ending the pods")?;
    progress.note("processes are gone");
    let content = state.containerd.as_deref();
    mounts::remove_below(
        &[Path::new(paths::RUN), Path::new(paths::VAR)].into_iter().chain(content).collect::<Vec<_>>(),
    )?;
    if !forgotten && let Some(content) = content {
        // Its records name containers of a cluster that is gone, and nobody can ask it to forget them.
        remove_folder(content)?;
    }
    network::remove()?;
    remove_cgroups();
    sysctls::restore(&state.sysctls)?;
    remove_files(&state)?;
    progress.note("networks, mounts, cgroups and files are gone");
    Ok(true)
}

/// Everything but containerd. Their data goes with them, so nobody needs time to write.
fn end_control_plane(state: &State) -> Result<()> {
    let others: Vec<Process> =
        state.alive().filter(|(name, _)| *name != "containerd").map(|(_, process)| process).collect();
    process::kill(&others, PATIENCE).context("ending the control plane")
}

/// Ends containerd after it has forgotten its containers; returns whether it has.
fn end_containerd(state: &State) -> Result<bool> {
    let Some(containerd) = state.processes.get("containerd").filter(|process| process.is_alive()) else {
        return Ok(false);
    };
    let runtime = Containerd::new(&Binaries::at(&state.binaries));
    let forgotten = forget_containers(&runtime);
    process::end(&[*containerd], Signal::TERM, PATIENCE).context("ending containerd")?;
    Ok(forgotten)
}

/// It takes containerd a moment to see that a container has ended.
fn forget_containers(runtime: &Containerd) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while runtime.answers() {
        if runtime.forget_containers().is_ok_and(|none_is_left| none_is_left) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

/// The processes in the lab's network namespaces.
fn members() -> Result<Vec<Process>> {
    let mut members = Vec::new();
    for name in network::NAMESPACES {
        members.extend(namespace::members(name)?.into_iter().filter_map(Process::find));
    }
    Ok(members)
}

/// The kernel lets go of a cgroup a moment after its last process.
fn remove_cgroups() {
    let deadline = Instant::now() + Duration::from_secs(2);
    cgroups::remove();
    while cgroups::exist() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        cgroups::remove();
    }
}

/// The state goes last: as long as it is there, a further `lab down` finds the rest.
fn remove_files(state: &State) -> Result<()> {
    let own = [Path::new(paths::VAR), Path::new(paths::RUN)];
    state.created.iter().map(AsRef::as_ref).chain(own).try_for_each(remove_folder)
}

fn remove_folder(path: &Path) -> Result<()> {
    let deadline = Instant::now() + STRAGGLERS;
    loop {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(50));
            }
            removed => return removed.with_context(|| format!("removing {}", path.display())),
        }
    }
}
