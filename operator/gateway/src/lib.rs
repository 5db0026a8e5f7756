//! The gateway: the only way out of a workspace. It lets through what an admin's policy names, and records all that was asked for.
//!
//! ```text
//! pods, classes, workspaces ──watch──▶ sessions (by address), policies (by workspace)
//!                                           │
//! connection ──▶ (tunnel, TLS ended) ──▶ request ──▶ decide ──▶ upstream ──▶ answer, searched for the credential
//!                                                      │
//!                                                      └──▶ refusal ──▶ 403 to the workspace
//! both ──▶ audit    one line, or a summary
//!      ├─▶ metrics
//!      └─▶ report   the Workspace's status, once a second
//! ```
//!
//! A name is resolved once a request for it is allowed, and what is sent is made anew from what was decided on.

pub mod args;
pub mod audit;
pub mod authority;
pub mod body;
pub mod budget;
pub mod canary;
pub mod credentials;
pub mod decisions;
pub mod exchange;
pub mod freshness;
pub mod headers;
pub mod metrics;
pub mod policies;
pub mod proxy;
mod recorder;
pub mod refusal;
pub mod report;
pub mod request;
pub mod session;
pub mod sessions;
pub mod sources;
pub mod standing;
pub mod trust;
pub mod upstream;
pub mod watch;
mod web_socket;

#[cfg(test)]
mod testing;
