//! Bodies on their way through the gateway. They stream: nothing is kept that has not to be looked into.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming, SizeHint};
use ws_api::reason::Reason;

mod room;
mod scrub;
mod unread;

pub use room::{BodyPermit, OwnRoom, Room};
pub use scrub::{Search, Spellings};
pub use unread::drain_unread;

/// A body of whatever kind.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the other side broke off")]
    Broken(#[from] hyper::Error),
    #[error("more bytes than a rule allows")]
    TooLong,
    #[error("more bytes than are left of a budget")]
    OverBudget,
    #[error("the policy does not allow it any more")]
    Revoked,
    #[error("it holds a credential")]
    Credential,
}

/// Resolves when what is under way is allowed no longer.
pub type Lost = Shared<BoxFuture<'static, ()>>;

/// Bytes that have passed. Clones count the same ones.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// Why a body ended before its end. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Failure(Arc<OnceLock<Reason>>);

/// What passed of one exchange. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub sent: Counter,
    pub received: Counter,
    pub failure: Failure,
}

/// A body on its way out: no longer than a rule allows, and without trailers, which no rule knows.
pub struct Outward<R> {
    pub inner: Incoming,
    /// Bytes that may still come.
    pub left: u64,
    /// What it is if more come.
    pub beyond: Option<BodyError>,
    pub tally: Tally,
    pub lost: Lost,
    /// Dropped when no more of the body can go out, which may be after the answer.
    pub record: R,
}

/// A body on its way back, as long as it is allowed.
pub struct Inward<R> {
    pub inner: Incoming,
    /// What must not be in it.
    pub search: Option<Search>,
    /// What follows when all that was held back is passed on.
    pub trailers: Option<HeaderMap>,
    pub lost: Lost,
    pub tally: Tally,
    /// Dropped when the body is at its end, or nobody wants more of it.
    pub record: R,
}

impl Counter {
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Failure {
    pub fn get(&self) -> Option<Reason> {
        self.0.get().copied()
    }

    pub fn set(&self, reason: Reason) {
        // The first is what happened; what follows follows from it.
        self.0.get_or_init(|| reason);
    }

    fn note(&self, error: BodyError) -> BodyError {
        self.set(error.reason());
        error
    }
}

impl BodyError {
    fn reason(&self) -> Reason {
        match self {
            Self::Broken(_) => Reason::BrokenOff,
            Self::TooLong => Reason::BodyTooLong,
            Self::OverBudget => Reason::OverBudget,
            Self::Revoked => Reason::Revoked,
            Self::Credential => Reason::CredentialReflected,
        }
    }
}

/// A body that is there already.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

impl<R: Unpin> hyper::body::Body for Outward<R> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if Pin::new(&mut self.lost).poll(cx).is_ready() {
            return Poll::Ready(Some(Err(self.tally.failure.note(BodyError::Revoked))));
        }
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            let frame = frame.map_err(|broken| self.tally.failure.note(broken.into()))?;
            let Ok(data) = frame.into_data() else { continue };
            let Some(left) = self.left.checked_sub(data.len() as u64) else {
                let beyond = self.beyond.take().unwrap_or(BodyError::TooLong);
                return Poll::Ready(Some(Err(self.tally.failure.note(beyond))));
            };
            self.left = left;
            self.tally.sent.add(data.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<R: Unpin> hyper::body::Body for Inward<R> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if Pin::new(&mut self.lost).poll(cx).is_ready() {
            return Poll::Ready(Some(Err(self.tally.failure.note(BodyError::Revoked))));
        }
        loop {
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(self.last(trailers)));
            }
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
                return Poll::Ready(self.held_back());
            };
            let frame = frame.map_err(|broken| self.tally.failure.note(broken.into()))?;
            match frame.into_data() {
                Ok(data) => {
                    let data = self.searched(data)?;
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    if let Some(rest) = self.held_back() {
                        return Poll::Ready(Some(rest));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.search.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<R> Inward<R> {
    /// What may be passed on when this has come.
    fn searched(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        self.tally.received.add(data.len() as u64);
        let Some(search) = &mut self.search else { return Ok(data) };
        search.push(&data).map_err(|_| self.tally.failure.note(BodyError::Credential))
    }

    /// What the search kept, because it might have been the beginning of a credential.
    fn held_back(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        let rest = self.search.as_mut().map(Search::finish).filter(|rest| !rest.is_empty());
        rest.map(|rest| Ok(Frame::data(rest)))
    }

    /// Trailers (RFC 9110 §6.5), which say how a call of gRPC ended.
    fn last(&mut self, mut trailers: HeaderMap) -> Result<Frame<Bytes>, BodyError> {
        crate::headers::inward(&mut trailers);
        let shows = |search: &Search| {
            let mut parts =
                trailers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
            parts.any(|part| search.is_in(part))
        };
        if self.search.as_ref().is_some_and(shows) {
            return Err(self.tally.failure.note(BodyError::Credential));
        }
        Ok(Frame::trailers(trailers))
    }
}
