//! A client's connection that ends so that what was sent arrives.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long a client is listened to that still sends while it has its answer already.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes of it that are read meanwhile.
const LINGER_BYTES: usize = 1 << 20;
const PIECE: usize = 4 << 10;

/// A stream whose shutdown also reads what the client still sends: a close with bytes unread resets the connection, and the
/// client may lose the answer (RFC 9112 §9.6).
#[derive(Debug)]
pub struct Lingering {
    stream: TcpStream,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    patience: Pin<Box<Sleep>>,
    left: usize,
}

impl Lingering {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, ending: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ending.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let ending = this
            .ending
            .get_or_insert_with(|| Ending { patience: Box::pin(sleep(LINGER)), left: LINGER_BYTES });
        loop {
            let mut piece = [0; PIECE];
            let mut buf = ReadBuf::new(&mut piece);
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buf);
            let is_over = match read {
                Poll::Pending => return ending.patience.as_mut().poll(cx).map(Ok),
                // A client that is gone has nothing left to lose.
                Poll::Ready(Err(_)) => true,
                Poll::Ready(Ok(())) => buf.filled().is_empty(),
            };
            ending.left = ending.left.saturating_sub(buf.filled().len());
            if is_over || ending.left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
