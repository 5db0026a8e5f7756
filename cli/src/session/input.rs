//! Standard input on its way to a program.

use std::{
    io::{self, Read as _},
    thread,
};

use bytes::Bytes;
use russh::client::Msg;
use rustix::pipe::fcntl_setpipe_size;
use tokio::sync::mpsc;
use ws_ssh::Gate;

use crate::error::Error;

const CHUNK: usize = 256 << 10;
/// Chunks read ahead of the network.
const AHEAD: usize = 4;
/// What Linux lets an ordinary user have; with its default of 64 KiB, each chunk is that small.
const PIPE: usize = 1 << 20;

/// Sends standard input and its end. Returns only if the connection breaks.
pub(super) async fn carry(writer: &russh::ChannelWriteHalf<Msg>, gate: &Gate) -> Error {
    let mut chunks = read();
    while let Some(chunk) = chunks.recv().await {
        gate.opened().await;
        if writer.data_bytes(chunk).await.is_err() {
            return Error::lost("it no longer takes input");
        }
    }
    // A program that has closed its input, or ended, does not need to hear of its end.
    drop(writer.eof().await);
    std::future::pending().await
}

/// Reads on a thread of its own, which ends with the process: a read of a terminal cannot be called off, and a runtime
/// would wait for it.
fn read() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        // Not every input is a pipe.
        fcntl_setpipe_size(&input, PIPE).ok();
        let mut buffer = vec![0; CHUNK];
        loop {
            match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let chunk = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                    if sender.blocking_send(chunk).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}
