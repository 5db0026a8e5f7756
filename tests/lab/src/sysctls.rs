//! Machine-wide sysctls that a kubelet overwrites when it starts: remembered before, put back after.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const OVERWRITTEN: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Their present values, of those that this kernel has.
pub fn remember() -> BTreeMap<String, String> {
    let values = OVERWRITTEN.into_iter().filter_map(|key| {
        let value = fs::read_to_string(Path::new("/proc/sys").join(key)).ok()?;
        Some((key.to_owned(), value.trim().to_owned()))
    });
    values.collect()
}

/// Writes those that differ.
pub fn restore(values: &BTreeMap<String, String>) -> Result<()> {
    let present = remember();
    let changed = values.iter().filter(|(key, value)| present.get(*key) != Some(*value));
    for (key, value) in changed {
        fs::write(Path::new("/proc/sys").join(key), value).with_context(|| format!("setting {key} back"))?;
    }
    Ok(())
}
