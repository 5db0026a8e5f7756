//! What the servers share: logs, signals, the admin endpoint and the drain. Nothing of what a server is for.

pub mod admin;
pub mod drain;
mod shutdown;

pub use shutdown::shutdown_signal;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Variable with the
/// [filter](https://docs.rs/tracing-subscriber/latest/tracing_subscriber/filter/struct.EnvFilter.html#directives) of what is
/// logged. Left out: `info`.
pub const LOG_FILTER: &str = "WS_LOG";

/// Logs to stderr from here on, one JSON object per line.
///
/// # Panics
/// When it is called twice.
pub fn init_logging() {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).with_env_var(LOG_FILTER);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .with_env_filter(filter.from_env_lossy())
        .init();
}
