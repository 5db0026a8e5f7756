//! Which requests of a workspace may leave: what an admin wrote, compiled once, and one pure decision on each request.
//!
//! ```text
//! WorkspaceClass ─▶ ClassPolicy ─┐
//! Workspace's picks ─────────────┴▶ Policy ─┐
//! bytes of a request ─▶ Request (canonical) ─┴▶ decide ─▶ Allowed, or why not
//! ```
//!
//! The gateway decides by it, the operator refuses classes by it, and `ws policy` explains and tries it.

pub mod addresses;
pub mod class;
pub mod decide;
pub mod expand;
pub mod host;
pub mod json;
pub mod lint;
pub mod package;
pub mod path;
pub mod pattern;
pub mod preset;
pub mod request;
