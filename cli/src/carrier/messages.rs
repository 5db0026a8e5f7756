//! A stream of bytes over WebSocket messages (RFC 6455); a [`Protocol`] says what a message is.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{self, Message};

/// What binary messages are made of.
pub(super) trait Protocol {
    /// Most bytes of data in a message.
    const MOST: usize;

    /// A message that carries `data`.
    fn pack(&self, data: &[u8]) -> Bytes;

    /// Takes a message apart.
    fn unpack(&mut self, message: Bytes, incoming: &mut Incoming);
}

/// What arrived and was not read yet.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    ended: bool,
}

impl Incoming {
    pub(super) fn data(&mut self, data: Bytes) {
        if !data.is_empty() && !self.ended {
            self.pieces.push_back(data);
        }
    }

    /// No data follows.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// No data follows, because of this.
    pub(super) fn complain(&mut self, complaint: &[u8]) {
        if !complaint.is_empty() {
            tracing::debug!(complaint = %complaint.escape_ascii(), "the way to the pod was closed");
            self.end();
        }
    }
}

/// The bytes that a protocol carries over a WebSocket.
pub(super) struct Messages<S, P> {
    socket: S,
    protocol: P,
    incoming: Incoming,
}

impl<S, P> Messages<S, P> {
    pub(super) fn new(socket: S, protocol: P) -> Self {
        Self { socket, protocol, incoming: Incoming::default() }
    }
}

impl<S, P> AsyncRead for Messages<S, P>
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    P: Protocol + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, protocol, incoming } = &mut *self;
        while incoming.pieces.is_empty() && !incoming.ended {
            match ready!(socket.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(message))) => protocol.unpack(message, incoming),
                Some(Ok(_)) => {}
                // However it ended, there is nothing more to read.
                Some(Err(_)) | None => incoming.end(),
            }
        }
        if let Some(piece) = incoming.pieces.front_mut() {
            buffer.put_slice(&piece.split_to(piece.len().min(buffer.remaining())));
            if piece.is_empty() {
                incoming.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, P> AsyncWrite for Messages<S, P>
where
    S: Sink<Message, Error = tungstenite::Error> + Unpin,
    P: Protocol + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_ready_unpin(cx)).map_err(io::Error::other)?;
        let data = data.get(..P::MOST).unwrap_or(data);
        let message = Message::Binary(self.protocol.pack(data));
        self.socket.start_send_unpin(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_close_unpin(cx).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use futures::{channel::mpsc, stream};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Three bytes to a message; `!` ends the stream.
    struct Threes;

    impl Protocol for Threes {
        const MOST: usize = 3;

        fn pack(&self, data: &[u8]) -> Bytes {
            Bytes::copy_from_slice(data)
        }

        fn unpack(&mut self, message: Bytes, incoming: &mut Incoming) {
            if message == "!" { incoming.complain(&message) } else { incoming.data(message) }
        }
    }

    #[tokio::test]
    async fn a_long_write_becomes_several_messages() {
        let (sender, receiver) = mpsc::unbounded();
        let sink = sender.sink_map_err(|_| tungstenite::Error::ConnectionClosed);
        let mut messages = Messages::new(sink, Threes);
        messages.write_all(b"12345678").await.unwrap();
        messages.shutdown().await.unwrap();
        let sent: Vec<_> = receiver.map(Message::into_data).collect().await;
        assert_eq!(sent, ["123", "456", "78"]);
    }

    #[tokio::test]
    async fn what_arrived_before_the_end_is_read() {
        let arrived = ["ab", "", "cde", "!", "lost"].map(|text| Ok(Message::binary(text)));
        let mut read = Vec::new();
        Messages::new(stream::iter(arrived), Threes).read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"abcde");
    }
}
