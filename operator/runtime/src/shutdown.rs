//! Signals that ask the process to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// A token that SIGTERM or SIGINT cancels. From here on neither ends the process by itself.
///
/// Must be called within a tokio runtime; fails if a handler cannot be installed.
pub fn shutdown_signal() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let guard = token.clone().drop_guard();
    tokio::spawn(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal, "shutting down");
        drop(guard);
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_cancels_the_token_and_the_process_lives() {
        let shutdown = shutdown_signal().unwrap();
        assert!(!shutdown.is_cancelled());
        kill_process(getpid(), Signal::TERM).unwrap();
        shutdown.cancelled().await;
    }
}
