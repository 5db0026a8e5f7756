//! Bytes in and out of Kubernetes' channel protocol: each WebSocket message (RFC 6455) is a channel's number and its data.
//!
//! kube's own port-forward sends a message for every 4 KiB, which costs three times the throughput and four times the CPU
//! of the 64 KiB used here.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use kube::client::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{self, Message};

/// Most bytes of data in a message: with the channel's number and the message's own header they fill four records of TLS.
const FRAME: usize = (64 << 10) - 9;

/// How a protocol on top uses the channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels {
    /// The channel that carries our bytes.
    pub(super) to: u8,
    /// The channel that carries the pod's bytes.
    pub(super) from: u8,
    /// The channel with the server's complaints.
    pub(super) error: u8,
    /// Bytes at the start of each incoming channel that are not data.
    pub(super) preamble: usize,
}

/// The bytes of one pair of channels. It ends when the server complains.
pub(super) fn stream(connection: Connection, channels: Channels) -> impl super::Stream {
    Framed::new(connection.into_stream(), channels)
}

struct Framed<S> {
    socket: S,
    incoming: Incoming,
    to: u8,
}

/// What arrived.
struct Incoming {
    channels: Channels,
    data_preamble: usize,
    error_preamble: usize,
    data: Bytes,
    ended: bool,
}

impl<S> Framed<S> {
    fn new(socket: S, channels: Channels) -> Self {
        let preamble = channels.preamble;
        let incoming = Incoming {
            channels,
            data_preamble: preamble,
            error_preamble: preamble,
            data: Bytes::new(),
            ended: false,
        };
        Self { socket, incoming, to: channels.to }
    }
}

impl Incoming {
    fn take(&mut self, message: Message) {
        let Some((channel, data)) = split(message) else { return };
        if channel == self.channels.from {
            self.data = without_preamble(data, &mut self.data_preamble);
        } else if channel == self.channels.error {
            let complaint = without_preamble(data, &mut self.error_preamble);
            if !complaint.is_empty() {
                tracing::debug!(complaint = %complaint.escape_ascii(), "the way to the pod was closed");
                self.ended = true;
            }
        }
    }
}

impl<S> AsyncRead for Framed<S>
where
    S: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.incoming.data.is_empty() && !self.incoming.ended {
            match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(message)) => self.incoming.take(message),
                // However it ended, there is nothing more to read.
                Some(Err(_)) | None => self.incoming.ended = true,
            }
        }
        let length = self.incoming.data.len().min(buffer.remaining());
        buffer.put_slice(&self.incoming.data.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S> AsyncWrite for Framed<S>
where
    S: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_ready_unpin(cx)).map_err(io::Error::other)?;
        let data = data.get(..FRAME).unwrap_or(data);
        let mut frame = BytesMut::with_capacity(1 + data.len());
        frame.put_u8(self.to);
        frame.put_slice(data);
        self.socket.start_send_unpin(Message::Binary(frame.freeze())).map_err(io::Error::other)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_close_unpin(cx).map_err(io::Error::other)
    }
}

fn split(message: Message) -> Option<(u8, Bytes)> {
    match message {
        Message::Binary(mut data) if !data.is_empty() => Some((data.get_u8(), data)),
        _ => None,
    }
}

fn without_preamble(mut data: Bytes, left: &mut usize) -> Bytes {
    let skipped = data.split_to(data.len().min(*left));
    *left -= skipped.len();
    data
}

#[cfg(test)]
mod tests {
    use futures::{channel::mpsc, stream};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const CHANNELS: Channels = Channels { to: 0, from: 0, error: 1, preamble: 2 };

    async fn read(messages: &[&'static [u8]]) -> Vec<u8> {
        let messages = messages.iter().map(|message| Ok(Message::Binary(Bytes::from_static(message))));
        let mut read = Vec::new();
        Framed::new(stream::iter(messages), CHANNELS).read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn the_preamble_is_taken_off_wherever_messages_are_cut() {
        assert_eq!(read(&[b"\0", b"\0a", b"\x01ab", b"\0bc", b"\0d"]).await, b"cd");
        assert_eq!(read(&[b"\0abc", b"\0d"]).await, b"cd");
    }

    #[tokio::test]
    async fn a_complaint_ends_the_stream() {
        assert_eq!(read(&[b"\0abdata", b"\x01ab", b"\x01refused", b"\0more"]).await, b"data");
    }

    #[test]
    fn a_message_without_a_channel_is_nothing() {
        assert_eq!(split(Message::Binary(Bytes::new())), None);
        assert_eq!(split(Message::text("0abc")), None);
        assert_eq!(
            split(Message::Binary(Bytes::from_static(b"\x00abc"))),
            Some((0, Bytes::from_static(b"abc")))
        );
    }

    #[tokio::test]
    async fn a_long_write_becomes_several_messages() {
        let (sender, receiver) = mpsc::unbounded();
        let sink = sender.sink_map_err(|_| tungstenite::Error::ConnectionClosed);
        let data: Vec<u8> = (0..=250).cycle().take(2 * FRAME + 5).collect();
        let mut framed = Framed::new(sink, CHANNELS);
        framed.write_all(&data).await.unwrap();
        framed.shutdown().await.unwrap();
        let messages: Vec<_> = receiver.filter_map(async |message| split(message)).collect().await;
        assert_eq!(messages.iter().map(|(_, data)| data.len()).collect::<Vec<_>>(), [FRAME, FRAME, 5]);
        assert!(messages.iter().all(|(channel, _)| *channel == CHANNELS.to));
        assert!(messages.into_iter().flat_map(|(_, data)| data).eq(data));
    }
}
