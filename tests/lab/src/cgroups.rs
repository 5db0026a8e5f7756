//! The cgroups that the kubelet makes for pods, on version 1 (a tree for each controller) and on version 2.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Process;

const ROOT: &str = "/sys/fs/cgroup";
/// The kubelet's name for its tree.
const PODS: &str = "kubepods";

/// The trees of pods on this machine.
fn trees() -> Vec<PathBuf> {
    let controllers = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path().join(PODS));
    std::iter::once(Path::new(ROOT).join(PODS)).chain(controllers).filter(|tree| tree.is_dir()).collect()
}

/// Whether there are any: of this lab, or of another kubelet.
pub fn exist() -> bool {
    !trees().is_empty()
}

/// The processes in pods.
pub fn processes() -> Vec<Process> {
    let mut pids: Vec<i32> = trees().iter().flat_map(|tree| pids_below(tree)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter_map(Process::find).collect()
}

fn pids_below(folder: &Path) -> Vec<i32> {
    let own = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    pids.extend(children(folder).iter().flat_map(|child| pids_below(child)));
    pids
}

/// Removes the trees, which must have no processes. What cannot be removed stays, to be found by the next try.
pub fn remove() {
    for tree in trees() {
        remove_below(&tree);
    }
}

fn remove_below(folder: &Path) {
    for child in children(folder) {
        remove_below(&child);
    }
    drop(fs::remove_dir(folder));
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
