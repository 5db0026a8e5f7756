//! A connection to a host that nobody looks into. It is written down when it is over, however it ends.

use std::{io, sync::Arc};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use ws_api::reason::Reason;
use ws_policy::{decide::Allowed, host::Host};

use crate::{
    audit::{Passage, Subject},
    body::{Counter, Tally},
    proxy::Proxy,
    recorder::Recorder,
    refusal::Refusal,
    session::Session,
};

/// Bytes that are carried at once, each way.
const PIECE: usize = 16 << 10;

/// A connection that is allowed, from before its host is dialled.
pub struct Passthrough {
    allowed: Allowed,
    recorder: Recorder,
}

impl Passthrough {
    pub fn new(proxy: Arc<Proxy>, session: Arc<Session>, subject: Subject, allowed: Allowed) -> Self {
        let passage = Passage::of(&allowed, None, false);
        Self { allowed, recorder: Recorder::new(proxy, session, subject, passage, Tally::default()) }
    }

    /// What allows it.
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Connects to its host.
    pub async fn dial(self, host: &Host) -> Result<(Self, TcpStream), Refusal> {
        match self.recorder.proxy.upstream.open(&self.allowed).await {
            Ok(outside) => Ok((self, outside)),
            Err(unanswered) => {
                self.recorder.forget();
                Err(unanswered.refusal(host))
            }
        }
    }

    /// Carries bytes until both sides are at their end, until the budget is spent, or until it is `lost`.
    pub async fn carry(self, inside: TokioIo<Upgraded>, outside: TcpStream, lost: impl Future<Output = ()>) {
        let Tally { received, failure, .. } = &self.recorder.tally;
        let (mut from_inside, mut to_inside) = tokio::io::split(inside);
        let (mut from_outside, mut to_outside) = outside.into_split();
        let there = async {
            match pump(&mut from_inside, &mut to_outside, Meter::Budget(&self)).await {
                Ok(()) | Err(Broken::Stream) => std::future::pending().await,
                Err(Broken::Refused(reason)) => reason,
            }
        };
        let back = pump(&mut from_outside, &mut to_inside, Meter::Count(received));
        tokio::select! {
            // The host has the last word: a client that is at its end may wait for its answer.
            _ = back => (),
            reason = there => failure.set(reason),
            () = lost => failure.set(Reason::Revoked),
        }
    }
}

/// What counts the bytes that pass.
enum Meter<'a> {
    /// Out of the budget, as far as it goes.
    Budget(&'a Passthrough),
    Count(&'a Counter),
}

impl Meter<'_> {
    async fn count(&self, bytes: u64) -> Result<(), Broken> {
        match self {
            Self::Budget(Passthrough { allowed, recorder }) => {
                recorder.spend(allowed, bytes).await.map_err(Broken::Refused)
            }
            Self::Count(counter) => {
                counter.add(bytes);
                Ok(())
            }
        }
    }
}

enum Broken {
    Stream,
    Refused(Reason),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Stream
    }
}

/// Copies until the end or an error. Each piece is counted before it goes on: of what is being written when the connection ends, nobody
/// knows how much arrived.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    meter: Meter<'_>,
) -> Result<(), Broken> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(to.shutdown().await?);
        }
        meter.count(length as u64).await?;
        to.write_all(piece.get(..length).unwrap_or_default()).await?;
    }
}
