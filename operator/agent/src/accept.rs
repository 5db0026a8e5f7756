//! Accepts connections, whatever the kernel is short of meanwhile, and has so many served at a time.

use std::{io, mem, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};

/// Time for the kernel to find what it lacked, descriptors mostly.
const BREATH: Duration = Duration::from_millis(50);

/// Has each connection served, as many at a time as there are places, which listeners may share. Goes on as long as it is polled.
pub async fn each<F>(listener: TcpListener, places: Arc<Semaphore>, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let stream = next(&listener).await;
        // Whoever has come takes a place, and not the listener: what nobody connects to leaves them all to the others.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let served = serve(stream);
        tokio::spawn(async move {
            // Whoever was refused sees the connection end.
            served.await.ok();
            drop(place);
        });
    }
}

/// The next connection.
pub async fn next(listener: &TcpListener) -> TcpStream {
    let (stream, _) = patiently("accept a connection", || listener.accept()).await;
    stream
}

/// Tries until it succeeds, with a pause after each failure, of which the first is said.
pub async fn patiently<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    let mut is_said = false;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                if !mem::replace(&mut is_said, true) {
                    tracing::warn!(%error, "cannot {what}");
                }
                sleep(BREATH).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_and_not_without_a_pause() {
        let (mut attempts, begin) = (0, Instant::now());
        let done = patiently("do it", || {
            attempts += 1;
            let outcome =
                if attempts > 20 { Ok("done") } else { Err(io::Error::from_raw_os_error(libc::EMFILE)) };
            async { outcome }
        });
        assert_eq!((done.await, begin.elapsed()), ("done", 20 * BREATH));
    }
}
