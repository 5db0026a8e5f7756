//! What an exchange was, written down when it is over.

use std::sync::Arc;

use http::Response;
use tokio::time::Instant;
use ws_policy::{decide::Allowed, request::Request};

use super::Asker;
use crate::{
    audit::{Passage, Subject},
    body::{Body, Failure, Tally},
    budget::{self, Guess, Reserved},
    proxy::Proxy,
    refusal::{Reason, Refusal},
    session::{Session, Turn},
};

/// What an exchange holds as long as it is under way.
pub(crate) struct Dues {
    pub _turn: Turn,
    /// What was not sent of it is given back.
    pub _reserved: Reserved,
    /// Given back if there was something.
    pub guess: Option<Guess>,
}

/// Writes down what an exchange was when it is over, however it ends.
pub(crate) struct Record {
    proxy: Arc<Proxy>,
    pub(super) session: Arc<Session>,
    subject: Subject,
    pub(super) passage: Passage,
    pub(super) tally: Tally,
    /// Why its connection was ended.
    cut: Failure,
    began: Instant,
    is_denied: bool,
    dues: Dues,
}

impl Record {
    /// Takes bytes that are sent out of the budget, and counts them.
    pub(crate) async fn spend(&self, allowed: &Allowed, bytes: u64) -> Result<(), Reason> {
        let sent = &self.tally.sent;
        let within = budget::spend(&self.proxy.reports, &self.session, allowed, sent, bytes).await;
        within.map_err(|refusal| refusal.reason())?;
        sent.add(bytes);
        Ok(())
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn new(
        proxy: &Arc<Proxy>,
        asker: &Asker,
        request: &Request,
        allowed: &Allowed,
        has_credential: bool,
        tally: Tally,
        dues: Dues,
    ) -> Self {
        Self {
            proxy: proxy.clone(),
            session: asker.session.clone(),
            subject: asker.subject(request),
            passage: Passage::of(allowed, Some(&request.path), has_credential),
            tally,
            cut: asker.cut.clone(),
            began: Instant::now(),
            is_denied: false,
            dues,
        }
    }

    /// It was allowed and did not come to its end.
    pub(crate) fn fail(mut self, refusal: &Refusal) -> Response<Body> {
        self.passage.failure = Some(refusal.reason());
        refusal.response()
    }

    /// It was not to be allowed after all.
    pub(super) fn deny(mut self, refusal: &Refusal) -> Response<Body> {
        self.is_denied = true;
        if let Some(guess) = &mut self.dues.guess {
            guess.answered(None, true);
        }
        self.proxy.refuse(Some(&self.session), &self.subject, refusal)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_denied {
            let failure = self.passage.failure.or(self.tally.failure.get()).or(self.cut.get());
            let is_unreachable = self.passage.failure == Some(Reason::Unreachable);
            let status = self.passage.status;
            let guess = self.dues.guess.as_mut();
            let passage = Passage {
                failure,
                is_missing: guess.is_some_and(|guess| guess.answered(status, is_unreachable)),
                sent_bytes: self.tally.sent.get(),
                received_bytes: self.tally.received.get(),
                took: self.began.elapsed(),
                ..self.passage.clone()
            };
            self.proxy.passed(&self.session, &self.subject, passage);
        }
    }
}
