//! Frames from an API server: the same data comes out wherever messages are cut, and no more than came in.

#![no_main]

use arbitrary::Arbitrary;
use futures::{executor::block_on, stream};
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::{messages::Messages, spdy::Spdy};

#[allow(dead_code)]
#[path = "../../cli/src/carrier/messages.rs"]
mod messages;
#[allow(dead_code)]
#[path = "../../cli/src/carrier/spdy.rs"]
mod spdy;

#[derive(Arbitrary, Debug)]
struct Arrived {
    bytes: Vec<u8>,
    /// Lengths of the messages.
    messages: Vec<u8>,
}

fuzz_target!(|arrived: Arrived| {
    let Arrived { bytes, messages } = arrived;
    let mut rest = bytes.as_slice();
    let mut pieces = Vec::new();
    for length in messages.into_iter().map(usize::from).chain([usize::MAX]) {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    let (whole, pieces) = (read(&[&bytes]), read(&pieces));
    assert_eq!(whole, pieces, "where a message ends means nothing");
    assert_eq!(whole, data(&bytes), "it is the data's stream");
});

fn read(messages: &[&[u8]]) -> Vec<u8> {
    let messages: Vec<_> = messages.iter().map(|message| Ok(Message::binary(message.to_vec()))).collect();
    let mut read = Vec::new();
    block_on(Messages::new(stream::iter(messages), Spdy::default()).read_to_end(&mut read)).expect("it ends");
    read
}

/// The content of the frames of stream 3, until something ends it.
fn data(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let [a, b, c, d, flags, x, y, z, rest @ ..] = bytes {
        let length = usize::from(*x) << 16 | usize::from(*y) << 8 | usize::from(*z);
        let (content, after) = rest.split_at(length.min(rest.len()));
        let is_whole = content.len() == length;
        match [*a, *b, *c, *d] {
            [0, 0, 0, 3] => {
                data.extend(content);
                if is_whole && flags & 1 == 1 {
                    break;
                }
            }
            [0, 0, 0, 1] if !content.is_empty() => break,
            [0x80, 3, 0, 3 | 7] => break,
            _ => {}
        }
        bytes = after;
    }
    data
}
