//! Mounts that pods and containers leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{UnmountFlags, unmount};

/// Unmounts everything below `folders`, the last mounted first.
pub fn remove_below(folders: &[&Path]) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
    for point in points_below(&table, folders).into_iter().rev() {
        // Detached: whoever still looks into it must not keep it.
        unmount(&point, UnmountFlags::DETACH).with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

/// The mount points below `folders` in the text of `/proc/PID/mountinfo`, in the order of mounting.
fn points_below(table: &str, folders: &[&Path]) -> Vec<PathBuf> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|point| folders.iter().any(|folder| point.starts_with(folder)))
        .collect()
}

/// The kernel writes blanks and backslashes of a path as octal numbers.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_folders_are_chosen() {
        let table = "1 0 8:1 / / rw - ext4 /dev/sda rw\n\
                     2 1 0:5 / /run/ws-lab/a\\040b rw - tmpfs tmpfs rw\n\
                     3 1 0:6 / /run/ws-lab-other rw - tmpfs tmpfs rw\n\
                     4 1 0:7 / /var/lib/ws-lab rw - tmpfs tmpfs rw\n";
        let points = points_below(table, &[Path::new("/run/ws-lab"), Path::new("/var/lib/ws-lab")]);
        assert_eq!(points, [Path::new("/run/ws-lab/a b"), Path::new("/var/lib/ws-lab")]);
    }
}
