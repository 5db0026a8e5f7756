//! What became of a project in its pod.
//!
//! The agent compares the tree with its baseline and sends what differs; the CLI receives that as a [`ChangeSet`],
//! which is data: nothing of it is on the laptop's disk under its own name until [`crate::apply()`] puts it there.

mod compare;
mod heaviest;
mod receive;
mod transfer;

use crate::entry::{Entry, SpecialKind};
use crate::path::TreePath;

pub use compare::{Changes, CompareError, compare};
pub use receive::{ChangeSet, ReceiveChangesError, receive_changes};
pub use transfer::send_changes;

/// One path whose entry differs from the baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: TreePath,
    /// What was there; `None`: nothing.
    pub base: Option<Entry>,
    /// What is there; `None`: nothing. Never equal to `base`.
    pub now: Option<Entry>,
}

/// Something in the pod's tree that cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    pub path: TreePath,
    pub kind: SpecialKind,
}
