//! What a channel sends: in order, within the peer's window, and no faster than the connection takes it.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use russh::{
    ChannelWriteHalf,
    server::{Handle, Msg},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};
use ws_ssh::Gate;

use super::signals;
use crate::reaper::Exit;

/// Bytes that a program's output is read by.
const CHUNK: usize = 256 << 10;
/// Room below which a new buffer is taken rather than a small read made.
const LOW: usize = 64 << 10;
/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254 §5.2).
const STDERR: u32 = 1;
/// How long a user who reads nothing is waited for to be told why the channel ends.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The sending half of a channel.
#[derive(Clone)]
pub struct Outlet {
    writer: Arc<ChannelWriteHalf<Msg>>,
    session: Handle,
    gate: Gate,
}

/// Which of a program's outputs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stream {
    Output,
    Error,
}

/// The connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;

impl Outlet {
    pub fn new(writer: ChannelWriteHalf<Msg>, session: Handle, gate: Gate) -> Self {
        Self { writer: Arc::new(writer), session, gate }
    }

    /// Sends `data`, waiting for the peer's window. A peer that closes the channel leaves it waiting: whoever calls this ends
    /// it with the channel.
    pub async fn send(&self, stream: Stream, data: Bytes) -> Result<(), Closed> {
        self.gate.opened().await;
        let sent = match stream {
            Stream::Output => self.writer.data_bytes(data).await,
            Stream::Error => self.writer.extended_data_bytes(STDERR, data).await,
        };
        sent.map_err(|_| Closed)
    }

    /// Sends all that `source` gives.
    pub async fn pump(&self, stream: Stream, mut source: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            if buffer.capacity() - buffer.len() < LOW {
                buffer.reserve(CHUNK);
            }
            if source.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            self.send(stream, buffer.split().freeze()).await.map_err(io::Error::other)?;
        }
    }

    /// Says that no more data comes.
    pub async fn eof(&self) {
        self.writer.eof().await.ok();
    }

    /// Says that no more data comes, and nothing is taken.
    pub async fn close(&self) {
        self.writer.close().await.ok();
    }

    /// Ends the channel of a program that has ended.
    pub async fn finish(&self, exit: Exit) {
        let id = self.writer.id();
        match exit {
            Exit::Code(code) => self.session.exit_status_request(id, code).await.ok(),
            Exit::Signal(number) => {
                let name = signals::name_of(number);
                self.session.exit_signal_request(id, name, false, String::new(), String::new()).await.ok()
            }
        };
        self.eof().await;
        self.close().await;
    }

    /// Ends the channel with a reason that its user can read.
    pub async fn fail(&self, code: u32, reason: &str) {
        if self.tell(reason).await.is_ok() {
            self.finish(Exit::Code(code)).await;
        }
    }

    /// Ends the channel of a program that goes on, with a reason if its user still reads.
    pub async fn give_up(&self, reason: &str) {
        timeout(LAST_WORD, self.tell(reason)).await.ok();
        self.close().await;
    }

    async fn tell(&self, reason: &str) -> Result<(), Closed> {
        self.send(Stream::Error, Bytes::from(format!("ws: {reason}\r\n"))).await
    }
}
