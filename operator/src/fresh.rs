//! Reads the operator's own writes: the watch cache shows a write only some time after it was answered, and what is decided in
//! between would be decided on what was before.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt as _;
use ws_api::workspace::Workspace;

/// The Workspaces as the operator's last writes left them, until the cache has caught up. By UID.
#[derive(Debug, Default)]
pub struct Fresh(Mutex<HashMap<String, Workspace>>);

impl Fresh {
    /// Remembers the answer to a write.
    pub fn wrote(&self, workspace: Workspace) {
        if let Some(uid) = workspace.uid() {
            self.lock().insert(uid, workspace);
        }
    }

    /// The newer one of the cache's and the remembered.
    pub fn newest(&self, cached: &Workspace) -> Workspace {
        let uid = cached.uid().unwrap_or_default();
        let mut written = self.lock();
        match written.get(&uid) {
            Some(own) if version(own) > version(cached) => own.clone(),
            _ => {
                written.remove(&uid);
                cached.clone()
            }
        }
    }

    /// The Workspace is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Workspace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions of one kind of object are
/// [integers that grow](https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
fn version(workspace: &Workspace) -> Option<u64> {
    workspace.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{UID, workspace};

    fn versioned(version: &str) -> Workspace {
        let mut workspace = workspace();
        workspace.metadata.resource_version = Some(version.into());
        workspace
    }

    #[test]
    fn a_write_is_seen_until_the_cache_shows_it() {
        let fresh = Fresh::default();
        fresh.wrote(versioned("10"));
        assert_eq!(fresh.newest(&versioned("9")), versioned("10"));
        assert_eq!(fresh.newest(&versioned("10")), versioned("10"));
        assert_eq!(fresh.newest(&versioned("9")), versioned("9"), "the cache had caught up");
        fresh.wrote(versioned("11"));
        fresh.forget(UID);
        assert_eq!(fresh.newest(&versioned("9")), versioned("9"));
    }
}
