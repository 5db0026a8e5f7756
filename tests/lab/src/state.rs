//! What a lab has to remember to be taken apart: written before and after each thing that it makes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::enforcement::Enforcement;
use crate::paths;
use crate::process::Process;

const FILE: &str = "state.json";

/// A lab, complete or half-made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
// What another version wrote must not keep this one from taking it apart.
#[serde(rename_all = "camelCase", default)]
pub struct State {
    pub enforcement: Enforcement,
    /// Set as the last step of `lab up`.
    pub ready: bool,
    /// The binaries it runs.
    pub binaries: PathBuf,
    /// containerd's root, in the cache of the user who started the lab.
    pub containerd: Option<PathBuf>,
    pub processes: BTreeMap<String, Process>,
    /// Machine-wide sysctls as they were before the kubelet wrote its own values.
    pub sysctls: BTreeMap<String, String>,
    /// Paths outside of the lab's own folders that did not exist before.
    pub created: Vec<PathBuf>,
}

impl State {
    /// The state of the lab on this machine, if there is one.
    pub fn load() -> Result<Option<Self>> {
        let path = paths::run(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Writes it; a reader sees the old state or the new one, never half of it.
    pub fn save(&self) -> Result<()> {
        let path = paths::run(FILE);
        let partial = path.with_extension("new");
        let text = serde_json::to_string_pretty(self).context("writing the state")?;
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &path))
            .with_context(|| format!("writing {}", path.display()))
    }

    /// The processes that still run.
    pub fn alive(&self) -> impl Iterator<Item = (&str, Process)> {
        self.processes
            .iter()
            .filter(|(_, process)| process.is_alive())
            .map(|(name, process)| (name.as_str(), *process))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_being_written() {
        let own = Process::find(i32::try_from(std::process::id()).unwrap()).unwrap();
        let state = State {
            enforcement: "slow:250".parse().unwrap(),
            processes: BTreeMap::from([("etcd".to_owned(), own)]),
            sysctls: BTreeMap::from([("kernel/panic".to_owned(), "0".to_owned())]),
            ..State::default()
        };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
