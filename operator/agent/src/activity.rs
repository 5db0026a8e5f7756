//! Whether somebody is connected.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Counts the logged-in connections.
#[derive(Debug, Default)]
pub struct Activity {
    connections: AtomicUsize,
    attached: AtomicBool,
}

/// A logged-in connection, until it is dropped.
#[derive(Debug)]
pub struct Attached(Arc<Activity>);

impl Activity {
    pub fn attach(self: &Arc<Self>) -> Attached {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.attached.store(true, Ordering::Relaxed);
        Attached(Arc::clone(self))
    }

    /// Whether somebody is logged in now.
    pub fn is_connected(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody ever was.
    pub fn was_attached(&self) -> bool {
        self.attached.load(Ordering::Relaxed)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
