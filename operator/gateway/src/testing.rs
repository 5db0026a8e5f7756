//! What several tests need.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{
    session::{Session, lock},
    sessions::{Identity, Observed},
};

pub fn identity() -> Identity {
    Identity {
        namespace: "team-a".into(),
        workspace: "fix-tests".parse().unwrap(),
        workspace_uid: "ws-uid".into(),
        class: "default".parse().unwrap(),
        pod_uid: "pod-uid".into(),
        created: "2026-11-21T08:00:00Z".parse().unwrap(),
    }
}

pub fn session() -> Arc<Session> {
    Arc::new(Session::new(identity()))
}

pub fn observed(address: &str) -> Observed {
    Observed { identity: identity(), addresses: vec![address.parse().unwrap()] }
}

/// A sink that can be read.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Shared {
    pub fn lines(&self) -> Vec<Value> {
        let bytes = lock(&self.bytes);
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.bytes).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
