//! A stream whose writes never wait.
//!
//! What the stream does not take at once is queued and goes out while the stream is read, so the end that reads always
//! makes progress. russh has a read outstanding at all times except while it writes, and that no longer takes time.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// Queued bytes from which on a [`Gate`] is closed.
const GATE: usize = 1 << 20;
/// Queued bytes at which the connection is given up: a peer that sends requests and never reads the answers.
const MAX_QUEUED: usize = 64 << 20;

/// Wraps `stream` so that its writes never wait.
pub fn unblocked<S>(stream: S) -> Unblocked<S> {
    Unblocked { stream, queue: VecDeque::new(), unflushed: false, failed: None, backlog: Arc::default() }
}

/// A stream whose writes never wait; it must be read all the time. See [`unblocked`].
#[derive(Debug)]
pub struct Unblocked<S> {
    stream: S,
    queue: VecDeque<Bytes>,
    unflushed: bool,
    /// A write that failed where it could not be reported.
    failed: Option<io::Error>,
    backlog: Arc<Backlog>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    fell: Notify,
}

/// Tells who produces data for an [`Unblocked`] stream when to go on.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Backlog>);

impl Gate {
    /// Waits until less than 1 MiB is queued, or the stream is gone.
    pub async fn opened(&self) {
        loop {
            let fell = self.0.fell.notified();
            if self.0.bytes.load(Ordering::Acquire) < GATE {
                return;
            }
            fell.await;
        }
    }
}

impl Backlog {
    fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Ordering::AcqRel);
        if before >= GATE && bytes < GATE {
            self.fell.notify_waiters();
        }
    }
}

impl<S> Unblocked<S> {
    /// For whoever produces data: without it, all they produce ends up in the queue.
    pub fn gate(&self) -> Gate {
        Gate(Arc::clone(&self.backlog))
    }

    fn queued(&self) -> usize {
        self.backlog.bytes.load(Ordering::Acquire)
    }

    fn fail(&mut self, error: io::Error) {
        self.queue.clear();
        self.backlog.set(0);
        self.failed = Some(error);
    }
}

impl<S> Drop for Unblocked<S> {
    fn drop(&mut self) {
        self.backlog.set(0);
    }
}

impl<S: AsyncWrite + Unpin> Unblocked<S> {
    /// Writes and flushes as much of the queue as the stream takes.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(front) = self.queue.front_mut() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, front))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            front.advance(written);
            if front.is_empty() {
                self.queue.pop_front();
            }
            self.backlog.set(self.queued() - written);
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Drains, and keeps an error for the next write: who reads may still find the peer's last words.
    fn drain(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            self.fail(error);
        }
    }

    fn enqueue(&mut self, data: &[u8]) -> io::Result<usize> {
        let queued = self.queued() + data.len();
        if queued > MAX_QUEUED {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read what it asked for"));
        }
        self.queue.push_back(Bytes::copy_from_slice(data));
        self.backlog.set(queued);
        Ok(data.len())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Unblocked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.drain(cx);
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unblocked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.drain(cx);
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.queue.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, data)
        {
            self.unflushed = true;
            return Poll::Ready(written);
        }
        self.unflushed = true;
        Poll::Ready(self.enqueue(data))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drain(cx);
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }

    /// Waits until everything is written: nobody reads any more, so nothing else would drain the queue.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn two_ends_that_write_before_they_read_both_finish() {
        let (left, right) = tokio::io::duplex(64);
        let end = |stream| async move {
            let mut stream = unblocked(stream);
            stream.write_all(&vec![7; 4 << 20]).await.unwrap();
            let mut received = vec![0; 4 << 20];
            stream.read_exact(&mut received).await.unwrap();
            assert!(received.iter().all(|byte| *byte == 7));
            stream.shutdown().await.unwrap();
        };
        let both = async { tokio::join!(end(left), end(right)) };
        timeout(LONG, both).await.unwrap();
    }

    #[tokio::test]
    async fn the_gate_is_closed_while_the_peer_does_not_read() {
        let (left, mut right) = tokio::io::duplex(64);
        let mut stream = unblocked(left);
        let gate = stream.gate();
        gate.opened().await;
        stream.write_all(&vec![0; 2 * GATE]).await.unwrap();
        assert!(timeout(Duration::from_millis(20), gate.opened()).await.is_err());
        let mut sink = vec![0; 2 * GATE];
        let reader = tokio::spawn(async move { right.read_exact(&mut sink).await.map(|_| right) });
        let mut byte = [0];
        let drained = async {
            tokio::select! { () = gate.opened() => (), _ = stream.read(&mut byte) => () }
        };
        timeout(LONG, drained).await.unwrap();
        stream.shutdown().await.unwrap();
        timeout(LONG, reader).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_gate_of_a_stream_that_is_gone_is_open() {
        let (left, _right) = tokio::io::duplex(64);
        let mut stream = unblocked(left);
        let gate = stream.gate();
        stream.write_all(&vec![0; 2 * GATE]).await.unwrap();
        let waiting = tokio::spawn(async move { gate.opened().await });
        tokio::task::yield_now().await;
        drop(stream);
        timeout(LONG, waiting).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_never_reads_is_given_up() {
        let (left, _right) = tokio::io::duplex(64);
        let mut stream = unblocked(left);
        assert!(stream.write_all(&vec![0; MAX_QUEUED + 1024]).await.is_err());
    }

    #[tokio::test]
    async fn what_the_peer_said_last_is_read_although_it_takes_nothing_more() {
        let (left, mut right) = tokio::io::duplex(8);
        let mut stream = unblocked(left);
        stream.write_all(&[0; 64]).await.unwrap();
        right.write_all(b"bye").await.unwrap();
        drop(right);
        let mut said = [0; 3];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"bye");
        assert!(stream.write_all(b"more").await.is_err());
    }
}
