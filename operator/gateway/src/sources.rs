//! How many connections each address may have open: one workspace cannot take the places of the others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

pub use ws_api::gateway::MAX_CONNECTIONS;

use crate::session::lock;

/// Counts connections. Clones count the same ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
#[must_use = "the connection is counted only while this lives"]
pub struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// Takes a place, unless the address has [`MAX_CONNECTIONS`].
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        let mut open = lock(&self.open);
        let count = open.entry(source).or_default();
        if *count == MAX_CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Place { sources: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.sources.open);
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b25_an_address_that_has_all_its_places_leaves_others_theirs() {
        let (sources, loud, quiet) = (Sources::default(), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut places: Vec<_> = (0..MAX_CONNECTIONS).map(|_| sources.enter(loud).unwrap()).collect();
        assert!(sources.enter(loud).is_none());
        assert!(sources.enter(quiet).is_some());
        places.pop();
        assert!(sources.enter(loud).is_some());
        places.clear();
        assert!(lock(&sources.open).is_empty());
    }
}
