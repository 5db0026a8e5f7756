//! How many connections each address may have open: one workspace cannot take the places of the others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

pub use ws_api::gateway::MAX_CONNECTIONS;

use crate::session::lock;

/// Counts connections. Clones count the same ones.
#[derive(Clone, Debug)]
pub struct Sources {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug)]
struct Open {
    of: HashMap<IpAddr, usize>,
    /// How many more there may be, of all addresses.
    left: usize,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
#[must_use = "the connection is counted only while this lives"]
pub struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// So many places for all addresses.
    pub fn new(places: usize) -> Self {
        Self { open: Arc::new(Mutex::new(Open { of: HashMap::new(), left: places })) }
    }

    /// Takes a place, unless the address has [`MAX_CONNECTIONS`], or as many as are left for all: so many addresses as there may be, one
    /// that has none yet finds one.
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        let mut open = lock(&self.open);
        let own = open.of.get(&source).copied().unwrap_or_default();
        if own >= MAX_CONNECTIONS.min(open.left) {
            return None;
        }
        open.of.insert(source, own + 1);
        open.left -= 1;
        Some(Place { sources: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.sources.open);
        if let Some(count) = open.of.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.of.remove(&self.source);
            }
            open.left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b25_many_that_take_all_they_can_leave_places_for_another() {
        const PLACES: usize = 2_048;
        let (sources, mut places) = (Sources::new(PLACES), Vec::new());
        for _ in 0..MAX_CONNECTIONS {
            let entered = (0..100).filter_map(|number| sources.enter([10, 0, 1, number].into()));
            places.extend(entered);
        }
        let late: Vec<_> = (0..MAX_CONNECTIONS).filter_map(|_| sources.enter([10, 0, 0, 2].into())).collect();
        assert!(late.len() >= 8, "{} are left for one that comes late", late.len());
        drop((places, late));
        assert_eq!(lock(&sources.open).left, PLACES);
    }

    #[test]
    fn b25_an_address_that_has_all_its_places_leaves_others_theirs() {
        let (sources, loud, quiet) = (Sources::new(1_000), [10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut places: Vec<_> = (0..MAX_CONNECTIONS).map(|_| sources.enter(loud).unwrap()).collect();
        assert!(sources.enter(loud).is_none());
        assert!(sources.enter(quiet).is_some());
        places.pop();
        assert!(sources.enter(loud).is_some());
        places.clear();
        assert!(lock(&sources.open).of.is_empty());
    }
}
