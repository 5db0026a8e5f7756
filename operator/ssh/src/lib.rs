//! What both ends of the SSH connection to a workspace share: settings, keys, certificates, and the two buffers without which
//! russh 0.65 can deadlock.
//!
//! russh runs a connection in one loop that reads, calls handlers and writes in turn. It stops in two places:
//!
//! * **It hands received bytes to a bounded queue and waits for room**, although it has already told the peer to send more.
//!   One channel that nobody reads stops all of them. So whoever must not stop takes bytes synchronously into an
//!   [`inbox`](inbox::inbox), which never refuses before its cap.
//! * **It does not read while it writes.** Two ends with windows larger than their socket buffers end up both writing. So a
//!   connection runs over [`Unblocked`], whose writes never wait; the wait is moved to the places that produce data, which
//!   ask its [`Gate`].

pub mod certificate;
pub mod config;
pub mod host_key;
pub mod inbox;
pub mod token;
pub mod unblocked;

pub use config::{client_config, server_config};
pub use inbox::{Feed, FeedError, Inbox, inbox};
pub use unblocked::{Gate, Unblocked, unblocked};
