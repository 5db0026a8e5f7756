//! A listener that ends well: it stops accepting, lets connections finish, and after a deadline drops them.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Time for the kernel to find what it lacked when it refused to accept a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What a listener may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once. More wait in the kernel's backlog.
    pub connections: usize,
    /// Time that connections get to finish after the shutdown.
    pub deadline: Duration,
}

/// Serves each connection with `serve` until `shutdown`, then waits for them to finish, at most [`Limits::deadline`].
///
/// `serve` gets a token that is cancelled by the shutdown: it is asked to finish what it does and to begin nothing new.
/// A future that is still running at the deadline is dropped.
pub async fn serve<F, C>(listener: TcpListener, limits: Limits, shutdown: CancellationToken, serve: F)
where
    F: Fn(TcpStream, SocketAddr, CancellationToken) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let force = CancellationToken::new();
    while let Some((slot, stream, peer)) = next(&listener, &slots, &shutdown).await {
        // In a box, because each future around it would take its size once more, or twice.
        let connection = Box::pin(serve(stream, peer, shutdown.clone()));
        let connection = force.clone().run_until_cancelled_owned(connection);
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if timeout(limits.deadline, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "dropping connections that did not finish in time");
        force.cancel();
        connections.wait().await;
    }
}

/// The next connection, or `None` after the shutdown.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let accept = async {
        let slot = slots.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((slot, stream, peer)),
                Err(error) if is_of_one_connection(&error) => debug!(%error, "a connection was lost"),
                Err(error) => {
                    warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(accept).await?
}

/// accept(2) also reports what went wrong on the connection that it would have returned.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    const LIMITS: Limits = Limits { connections: 2, deadline: Duration::from_millis(300) };

    /// Greets, then waits for a byte or, if `polite`, for the shutdown.
    async fn greeter(polite: bool) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let greet = move |mut stream: TcpStream, _, closing: CancellationToken| async move {
            stream.write_all(b"hello").await.unwrap();
            tokio::select! {
                _ = stream.read_u8() => (),
                () = closing.cancelled(), if polite => (),
            }
        };
        (address, shutdown.clone(), tokio::spawn(serve(listener, LIMITS, shutdown, greet)))
    }

    async fn greeted(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn connections_that_finish_are_waited_for() {
        let (address, shutdown, server) = greeter(true).await;
        let _stream = greeted(address).await;
        let start = Instant::now();
        shutdown.cancel();
        server.await.unwrap();
        assert!(start.elapsed() < LIMITS.deadline, "{:?}", start.elapsed());
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn connections_that_do_not_finish_are_dropped_at_the_deadline() {
        let (address, shutdown, server) = greeter(false).await;
        let mut stream = greeted(address).await;
        let start = Instant::now();
        shutdown.cancel();
        server.await.unwrap();
        assert!(start.elapsed() >= LIMITS.deadline, "{:?}", start.elapsed());
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_slot() {
        let (address, shutdown, server) = greeter(true).await;
        let mut first = greeted(address).await;
        let _second = greeted(address).await;
        let third = tokio::spawn(greeted(address));
        sleep(Duration::from_millis(50)).await;
        assert!(!third.is_finished());
        first.write_all(b"x").await.unwrap();
        let _third = third.await.unwrap();
        shutdown.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_listener_still_shuts_down() {
        let (address, shutdown, server) = greeter(true).await;
        let _streams = [greeted(address).await, greeted(address).await];
        shutdown.cancel();
        server.await.unwrap();
    }
}
