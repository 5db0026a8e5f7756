//! The cgroups that the lab's pods are in, on version 1 (a tree for each controller) and on version 2. They lie in a tree of
//! the lab's own, so that no other kubelet's pods are ever taken for its.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::Process;

const ROOT: &str = "/sys/fs/cgroup";
/// The lab's tree: the kubelet's `cgroupRoot`.
pub const TREE: &str = "ws-lab";
/// The tree of a kubelet that was given no root.
const OTHERS: &str = "kubepods";
/// What every hierarchy of cgroups has at its top.
const MEMBERS: &str = "cgroup.procs";

/// The tops of the hierarchies: one on version 2, one for each controller on version 1.
fn hierarchies() -> Vec<PathBuf> {
    let controllers = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    let tops = std::iter::once(PathBuf::from(ROOT)).chain(controllers);
    let is_one = |top: &PathBuf| !top.is_symlink() && top.join(MEMBERS).is_file();
    let mut tops: Vec<PathBuf> = tops.filter(is_one).collect();
    // On version 2 the folders below the top are its groups, not hierarchies.
    if tops.first().is_some_and(|top| top == Path::new(ROOT)) {
        tops.truncate(1);
    }
    tops
}

/// The lab's trees.
fn trees() -> Vec<PathBuf> {
    hierarchies().iter().map(|top| top.join(TREE)).filter(|tree| tree.is_dir()).collect()
}

/// Makes the lab's trees, which the kubelet wants to find.
pub fn create() -> Result<()> {
    for top in hierarchies() {
        let tree = top.join(TREE);
        fs::create_dir_all(&tree).with_context(|| format!("creating the cgroup {}", tree.display()))?;
    }
    Ok(())
}

/// Whether any tree of the lab is there.
pub fn exist() -> bool {
    !trees().is_empty()
}

/// Whether another kubelet has pods on this machine.
pub fn others_exist() -> bool {
    hierarchies().iter().any(|top| top.join(OTHERS).is_dir())
}

/// The processes in pods.
pub fn processes() -> Vec<Process> {
    let mut pids: Vec<i32> = trees().iter().flat_map(|tree| pids_below(tree)).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter_map(Process::find).collect()
}

fn pids_below(folder: &Path) -> Vec<i32> {
    let own = fs::read_to_string(folder.join(MEMBERS)).unwrap_or_default();
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
