//! What runs on a session channel (RFC 4254 §6): a shell or a command, on a terminal or on pipes.

pub mod environment;
pub mod modes;
pub mod outlet;
pub mod program;
pub mod signals;
pub mod terminal;
