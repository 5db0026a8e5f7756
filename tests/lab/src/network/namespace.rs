//! Entering network namespaces.
//!
//! A thread of its own moves, because a namespace belongs to a thread and is inherited by what that thread starts. Only
//! the network changes: mounts stay as they are (unlike with `ip netns exec`, which hides the cgroups).

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

fn path(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// Whether the namespace has been made.
pub fn exists(namespace: &str) -> bool {
    path(namespace).exists()
}

/// Runs `work` with the network of `namespace`, on a thread that ends with it.
pub fn enter<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_this_thread(namespace)?;
            Ok(work())
        });
        thread.join().map_err(|_| anyhow!("a thread in network namespace {namespace} panicked"))?
    })
}

/// Moves the calling thread for good: for a process that is about to become another program.
pub fn move_this_thread(namespace: &str) -> Result<()> {
    let file =
        File::open(path(namespace)).with_context(|| format!("opening network namespace {namespace}"))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("entering network namespace {namespace}"))
}

/// Sets a sysctl of the calling thread's network; `key` has slashes.
pub fn write_sysctl(key: &str, value: &str) -> Result<()> {
    fs::write(Path::new("/proc/sys").join(key), value).with_context(|| format!("setting {key}"))
}

/// The processes whose main thread is in `namespace`.
pub fn members(namespace: &str) -> Result<Vec<i32>> {
    let Ok(wanted) = fs::metadata(path(namespace)) else { return Ok(Vec::new()) };
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc").context("listing processes")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that is gone by now has no namespace.
        if let Ok(own) = fs::metadata(entry.path().join("ns/net"))
            && (own.dev(), own.ino()) == (wanted.dev(), wanted.ino())
        {
            members.push(pid);
        }
    }
    Ok(members)
}
