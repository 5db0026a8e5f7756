//! A connection to a host that nobody looks into. It is written down when it is over, however it ends.

use std::{io, sync::Arc};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use ws_policy::{decide::Allowed, host::Host};

use crate::{
    audit::{Passage, Subject},
    body::{Counter, Tally},
    budget,
    proxy::Proxy,
    refusal::{Reason, Refusal},
    session::Session,
};

/// Bytes that are carried at once, each way.
const PIECE: usize = 16 << 10;

/// A connection that is allowed, from before its host is dialled.
pub struct Passthrough {
    proxy: Arc<Proxy>,
    session: Arc<Session>,
    subject: Subject,
    allowed: Allowed,
    tally: Tally,
    began: Instant,
    is_denied: bool,
}

impl Passthrough {
    pub fn new(proxy: Arc<Proxy>, session: Arc<Session>, subject: Subject, allowed: Allowed) -> Self {
        let (tally, began) = (Tally::default(), Instant::now());
        Self { proxy, session, subject, allowed, tally, began, is_denied: false }
    }

    /// What allows it.
    pub fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Connects to its host.
    pub async fn dial(mut self, host: &Host) -> Result<(Self, TcpStream), Refusal> {
        match self.proxy.upstream.open(&self.allowed).await {
            Ok(outside) => Ok((self, outside)),
            Err(unanswered) => {
                // The refusal is what is written down.
                self.is_denied = true;
                Err(unanswered.refusal(host))
            }
        }
    }

    /// Carries bytes until both sides are at their end, until the budget is spent, or until it is `lost`.
    pub async fn carry(self, inside: TokioIo<Upgraded>, outside: TcpStream, lost: impl Future<Output = ()>) {
        let Tally { sent, received, failure } = &self.tally;
        let (mut from_inside, mut to_inside) = tokio::io::split(inside);
        let (mut from_outside, mut to_outside) = outside.into_split();
        let there = async {
            match pump(&mut from_inside, &mut to_outside, sent, Some(&self)).await {
                Ok(()) | Err(Broken::Stream) => std::future::pending().await,
                Err(Broken::Refused(reason)) => reason,
            }
        };
        let back = pump(&mut from_outside, &mut to_inside, received, None);
        tokio::select! {
            // The host has the last word: a client that is at its end may wait for its answer.
            _ = back => (),
            reason = there => failure.set(reason),
            () = lost => failure.set(Reason::Revoked),
        }
    }

    /// Takes bytes out of the budget that follow those which were sent.
    async fn spend(&self, more: u64) -> Result<(), Broken> {
        let Self { proxy, session, allowed, tally, .. } = self;
        let spent = budget::spend(&proxy.reports, session, allowed, &tally.sent, more).await;
        spent.map_err(|refusal| Broken::Refused(refusal.reason()))
    }
}

impl Drop for Passthrough {
    fn drop(&mut self) {
        if !self.is_denied {
            let passage = Passage {
                failure: self.tally.failure.get(),
                sent_bytes: self.tally.sent.get(),
                received_bytes: self.tally.received.get(),
                took: self.began.elapsed(),
                ..Passage::of(&self.allowed, None, false)
            };
            self.proxy.passed(&self.session, &self.subject, passage);
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

/// Copies until the end or an error, and counts; for a spender, as much as its budget holds.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    passed: &Counter,
    spender: Option<&Passthrough>,
) -> Result<(), Broken> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(to.shutdown().await?);
        }
        if let Some(spender) = spender {
            spender.spend(length as u64).await?;
        }
        // Of what is being written when the connection ends, nobody knows how much arrived.
        passed.add(length as u64);
        to.write_all(piece.get(..length).unwrap_or_default()).await?;
    }
}
