//! What a server waits for before it takes traffic.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ready when nothing blocks it. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    blockers: Arc<Mutex<Vec<&'static str>>>,
}

/// Blocks readiness until it is dropped.
#[derive(Debug)]
#[must_use = "readiness is blocked only while this lives"]
pub struct BlockReady {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Blocks readiness; `name` says in `/readyz` what is waited for.
    pub fn block(&self, name: &'static str) -> BlockReady {
        self.lock().push(name);
        BlockReady { readiness: self.clone(), name }
    }

    /// What is waited for, the oldest first.
    pub fn blockers(&self) -> Vec<&'static str> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.blockers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BlockReady {
    fn drop(&mut self) {
        let mut blockers = self.readiness.lock();
        if let Some(own) = blockers.iter().position(|name| *name == self.name) {
            blockers.remove(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_blocker_counts_for_itself() {
        let readiness = Readiness::default();
        let (cache, listener, second) =
            (readiness.block("cache"), readiness.block("listener"), readiness.block("listener"));
        drop(listener);
        assert_eq!(readiness.blockers(), ["cache", "listener"]);
        drop(cache);
        drop(second);
        assert!(readiness.blockers().is_empty());
    }
}
