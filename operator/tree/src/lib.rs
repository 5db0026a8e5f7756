//! Project trees on their way into a workspace and back.
//!
//! Both ends of a transfer share this crate: the agent in the pod receives a project and reports what became of it,
//! the CLI sends the project and takes the changes back. Everything that arrives is hostile on both sides: lengths and
//! counts are bounded before memory is reserved, paths are validated once ([`TreePath`]), and files are reached only
//! through a directory handle that cannot be left ([`Confined`]).
//!
//! ```text
//! laptop                                        pod
//! select ─▶ send ──── project stream ────▶ receive ─▶ Received (the baseline)
//!           verify ◀────── Receipt ──────────┘            │
//! receive_changes ◀──── change stream ──── send_changes ◀─ compare
//!        └─▶ apply
//! ```
//!
//! All of it is blocking `std::io`; asynchronous callers give it a thread.

pub mod apply;
pub mod changes;
pub mod confined;
mod digest;
mod entry;
pub mod escape;
pub mod fold;
mod limits;
mod manifest;
mod path;
pub mod pattern;
mod receipt;
pub mod receive;
pub mod rules;
pub mod send;
pub mod walk;
pub mod wire;

pub use apply::{Applied, ApplyError, apply};
pub use changes::{Change, ChangeSet, Changes, compare, receive_changes, send_changes};
pub use confined::Confined;
pub use digest::{Digest, Hasher};
pub use entry::{Entry, FileEntry, SpecialKind, Target, TargetError, Timestamp};
pub use escape::Escaped;
pub use limits::{Exceeded, Limits};
pub use manifest::Manifest;
pub use path::{PathError, TreePath};
pub use receipt::Receipt;
pub use receive::{ReceiveError, Received, receive};
pub use send::{SendError, SendOptions, Sent, Source, SourceKind, Warning, send};
