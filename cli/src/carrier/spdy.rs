//! As much of [SPDY/3.1](https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/) as forwarding one port takes: a
//! stream for complaints, a stream for data, and nobody's flow control, for Kubernetes' servers have none.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::messages::{Incoming, Protocol};

/// Streams that a client opens have odd numbers.
const COMPLAINTS: u32 = 1;
const DATA: u32 = 3;

/// Before each frame's content: a stream's number or a type, flags, and the length in 24 bits.
const HEADER: usize = 8;

/// The bit that tells control frames from data, and the version.
const CONTROL: u32 = 0x8003_0000;
const SYN_STREAM: u32 = CONTROL | 1;
const RST_STREAM: u32 = CONTROL | 3;
const GO_AWAY: u32 = CONTROL | 7;
/// No more data follows on this stream.
const FIN: u8 = 1;

/// How a stream of zlib's begins (RFC 1950) that SPDY's dictionary belongs to: method, flags, the dictionary's checksum.
const ZLIB: [u8; 6] = [0x78, 0x20, 0xe3, 0xc6, 0xa7, 0xc2];

/// One forwarded port.
#[derive(Debug, Default)]
pub(super) struct Spdy {
    /// The beginning of a frame's header whose end has not arrived.
    partial: BytesMut,
    frame: Option<Frame>,
}

/// What of a frame has not arrived yet.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    flags: u8,
    left: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Data,
    Complaint,
    /// The server gives up a stream, or all of them.
    End,
    /// Answers that say nothing a client of one port needs to know.
    Other,
}

impl Spdy {
    /// Also returns the first message, which opens both streams.
    pub(super) fn begin(port: u16) -> (Self, Bytes) {
        let port = port.to_string();
        let mut message = BytesMut::new();
        // The compressed headers of all frames are one stream.
        let mut compressed = ZLIB.to_vec();
        for (stream, kind) in [(COMPLAINTS, "error"), (DATA, "data")] {
            compressed.extend(stored(&headers(&[("port", &port), ("requestid", "0"), ("streamtype", kind)])));
            put_header(&mut message, SYN_STREAM, 0, 10 + compressed.len());
            message.put_u32(stream);
            // Associated to no other stream, of the highest priority, with no credentials.
            message.put_bytes(0, 6);
            message.put_slice(&compressed);
            compressed.clear();
        }
        (Self::default(), message.freeze())
    }

    /// Takes a header off `bytes`, once all of it has arrived.
    fn next_frame(&mut self, bytes: &mut Bytes) -> Option<Frame> {
        let missing = (HEADER - self.partial.len()).min(bytes.len());
        self.partial.put(bytes.split_to(missing));
        if self.partial.len() < HEADER {
            return None;
        }
        let (word, rest) = (self.partial.get_u32(), self.partial.get_u32());
        let [flags, length @ ..] = rest.to_be_bytes();
        let left = length.into_iter().fold(0, |length, byte| length << 8 | usize::from(byte));
        Some(Frame { kind: kind(word), flags, left })
    }
}

fn kind(word: u32) -> Kind {
    match word {
        DATA => Kind::Data,
        COMPLAINTS => Kind::Complaint,
        RST_STREAM | GO_AWAY => Kind::End,
        _ => Kind::Other,
    }
}

impl Protocol for Spdy {
    /// With the frame's header and the message's they fill four records of TLS.
    const MOST: usize = (64 << 10) - 8 - HEADER;

    fn pack(&self, data: &[u8]) -> Bytes {
        let mut message = BytesMut::with_capacity(HEADER + data.len());
        put_header(&mut message, DATA, 0, data.len());
        message.put_slice(data);
        message.freeze()
    }

    /// Messages and frames begin and end where they like.
    fn unpack(&mut self, mut bytes: Bytes, incoming: &mut Incoming) {
        loop {
            let Some(mut frame) = self.frame.take().or_else(|| self.next_frame(&mut bytes)) else { return };
            let part = bytes.split_to(bytes.len().min(frame.left));
            frame.left -= part.len();
            match frame.kind {
                Kind::Data => incoming.data(part),
                Kind::Complaint => incoming.complain(&part),
                Kind::End => incoming.end(),
                Kind::Other => {}
            }
            if frame.left > 0 {
                self.frame = Some(frame);
                return;
            }
            if frame.kind == Kind::Data && frame.flags & FIN != 0 {
                incoming.end();
            }
        }
    }
}

/// What [`Spdy::next_frame`] takes off; `length` is that of what follows.
fn put_header(message: &mut BytesMut, word: u32, flags: u8, length: usize) {
    message.put_u32(word);
    message.put_u8(flags);
    message.put_uint(length as u64, 3);
}

/// Names and values, each after its length.
fn headers(pairs: &[(&str, &str)]) -> Vec<u8> {
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut block = number(pairs.len()).to_vec();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        block.extend(number(text.len()));
        block.extend(text.as_bytes());
    }
    block
}

/// A block of DEFLATE (RFC 1951 §3.2.4) that is not compressed and not the last one, and an empty one, which makes a reader
/// hand out what it has.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut blocks = vec![0];
    blocks.extend(length.to_le_bytes());
    blocks.extend((!length).to_le_bytes());
    blocks.extend(data);
    blocks.extend([0, 0, 0, 0xff, 0xff]);
    blocks
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::io::AsyncReadExt as _;
    use tokio_tungstenite::tungstenite::Message;

    use super::{super::messages::Messages, *};

    fn frame(word: u32, flags: u8, content: &[u8]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        put_header(&mut frame, word, flags, content.len());
        frame.put_slice(content);
        frame.to_vec()
    }

    /// What is read when `bytes` arrive in messages of this length.
    async fn read(bytes: &[u8], length: usize) -> Vec<u8> {
        let messages: Vec<_> = bytes.chunks(length).map(|part| Ok(Message::binary(part.to_vec()))).collect();
        let mut read = Vec::new();
        Messages::new(stream::iter(messages), Spdy::default()).read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn data_is_found_wherever_messages_are_cut() {
        const SYN_REPLY: u32 = CONTROL | 2;
        let bytes = [
            frame(SYN_REPLY, 0, b"headers"),
            frame(DATA, 0, b"one "),
            frame(DATA, 0, b""),
            frame(CONTROL | 6, 0, &[0; 4]),
            frame(DATA, 0, b"two"),
            frame(DATA, FIN, b" three"),
            frame(DATA, 0, b"after the end"),
        ]
        .concat();
        for length in 1..=bytes.len() {
            assert_eq!(read(&bytes, length).await, b"one two three", "{length}");
        }
    }

    #[tokio::test]
    async fn a_complaint_a_reset_and_a_farewell_end_the_stream() {
        for end in [
            frame(COMPLAINTS, 0, b"connection refused"),
            frame(RST_STREAM, 0, &[0, 0, 0, 3, 0, 0, 0, 1]),
            frame(GO_AWAY, 0, &[0; 8]),
        ] {
            let bytes = [frame(DATA, 0, b"data"), end, frame(DATA, 0, b"more")].concat();
            assert_eq!(read(&bytes, 5).await, b"data");
        }
    }

    #[test]
    fn both_streams_are_opened_with_the_port() {
        let (_, message) = Spdy::begin(2222);
        let second = HEADER + usize::from(message[7]);
        assert_eq!(message[..4], SYN_STREAM.to_be_bytes());
        assert_eq!(message[second..second + 4], SYN_STREAM.to_be_bytes());
        assert_eq!(message.len(), second + HEADER + usize::from(message[second + 7]));
        let has = |text: &[u8]| message.windows(text.len()).filter(|window| window == &text).count();
        assert_eq!((has(b"port\0\0\0\x042222"), has(b"error"), has(b"data"), has(&ZLIB)), (2, 1, 1, 1));
        // RFC 1950: the two first bytes, as a number, are a multiple of 31, and a flag says that a dictionary follows.
        assert_eq!(u16::from_be_bytes([ZLIB[0], ZLIB[1]]) % 31, 0);
        assert_ne!(ZLIB[1] & 0x20, 0);
    }
}
