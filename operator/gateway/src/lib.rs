//! The gateway: the only way out of a workspace. It allows nothing, says so, and records what was asked for.
//!
//! ```text
//! pods ──watch──▶ sessions (by address)
//!                    │
//! connection ──▶ request ──▶ decide ──▶ refusal ──▶ 403 to the workspace
//!                                          ├──▶ audit    one line, or a summary
//!                                          ├──▶ metrics
//!                                          └──▶ report   the Workspace's status, once a second
//! ```
//!
//! It resolves no name and opens no connection but to the API server.

pub mod args;
pub mod audit;
pub mod canary;
pub mod decide;
pub mod metrics;
pub mod proxy;
pub mod refusal;
pub mod report;
pub mod request;
pub mod session;
pub mod sessions;
pub mod sources;
pub mod watch;

#[cfg(test)]
mod testing;
