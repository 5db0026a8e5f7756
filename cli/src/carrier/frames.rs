//! Bytes in and out of Kubernetes' channel protocol: each WebSocket message (RFC 6455) is a channel's number and its data.
//!
//! kube's own port-forward sends a message for every 4 KiB, which costs three times the throughput and four times the CPU
//! of the 64 KiB used here.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use kube::client::Connection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio_tungstenite::tungstenite::Message;

/// Most bytes of data in a message.
const FRAME: usize = 64 << 10;
/// Bytes between the pump and its user, in each direction.
const PIPE: usize = 1 << 20;

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

/// Pumps until either side is done. Each direction has its own task, so that neither waits for the other.
pub(super) fn pump(connection: Connection, channels: Channels) -> DuplexStream {
    let (near, far) = tokio::io::duplex(PIPE);
    let (reader, writer) = tokio::io::split(far);
    let (sink, stream) = connection.into_stream().split();
    tokio::spawn(send(reader, sink, channels.to));
    tokio::spawn(receive(stream, writer, channels));
    near
}

async fn send(
    mut reader: ReadHalf<DuplexStream>,
    mut sink: impl futures::Sink<Message> + Unpin,
    channel: u8,
) {
    loop {
        let mut frame = BytesMut::with_capacity(FRAME + 1);
        frame.extend_from_slice(&[channel]);
        match reader.read_buf(&mut frame).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if sink.send(Message::Binary(frame.freeze())).await.is_err() {
            return;
        }
    }
    // The other side may have gone first; then there is nobody to say goodbye to.
    drop(sink.send(Message::Close(None)).await);
}

async fn receive(
    mut stream: impl futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
    mut writer: WriteHalf<DuplexStream>,
    channels: Channels,
) {
    let mut data_preamble = channels.preamble;
    let mut error_preamble = channels.preamble;
    while let Some(Ok(message)) = stream.next().await {
        let Some((channel, data)) = split(message) else { continue };
        if channel == channels.from {
            let data = without_preamble(data, &mut data_preamble);
            if writer.write_all(&data).await.is_err() {
                return;
            }
        } else if channel == channels.error {
            let complaint = without_preamble(data, &mut error_preamble);
            if !complaint.is_empty() {
                tracing::debug!(complaint = %complaint.escape_ascii(), "the way to the pod was closed");
                break;
            }
        }
    }
    // Its user has gone if this fails.
    drop(writer.shutdown().await);
}

fn split(message: Message) -> Option<(u8, Bytes)> {
    match message {
        Message::Binary(mut data) if !data.is_empty() => {
            let channel = data.split_to(1);
            channel.first().map(|channel| (*channel, data))
        }
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
    use super::*;

    #[test]
    fn the_preamble_is_taken_off_wherever_messages_are_cut() {
        let mut left = 2;
        let parts =
            ["", "a", "bc", "d"].map(|part| without_preamble(Bytes::from_static(part.as_bytes()), &mut left));
        assert_eq!(parts.concat(), b"cd");
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
}
