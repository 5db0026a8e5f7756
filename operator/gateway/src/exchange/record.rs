//! What an exchange was, written down when it is over.

use std::sync::Arc;

use http::Response;
use ws_policy::{decide::Allowed, request::Request};

use super::Asker;
use crate::{
    audit::Passage,
    body::{Body, Failure, Tally},
    budget::{Guess, Reserved},
    proxy::Proxy,
    recorder::Recorder,
    refusal::{Reason, Refusal},
    session::Turn,
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
    /// Before the dues: what was sent is written down before the rest is given back.
    pub(super) recorder: Recorder,
    /// Why its connection was ended.
    cut: Failure,
    dues: Dues,
}

impl Record {
    /// Takes bytes that are sent out of the budget, and counts them.
    pub(crate) async fn spend(&self, allowed: &Allowed, bytes: u64) -> Result<(), Reason> {
        self.recorder.spend(allowed, bytes).await
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> &Tally {
        &self.recorder.tally
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
        let passage = Passage::of(allowed, Some(&request.path), has_credential);
        let subject = asker.subject(request);
        let recorder = Recorder::new(proxy.clone(), asker.session.clone(), subject, passage, tally);
        Self { recorder, cut: asker.cut.clone(), dues }
    }

    /// It was allowed and did not come to its end.
    pub(crate) fn fail(mut self, refusal: &Refusal) -> Response<Body> {
        self.recorder.passage.failure = Some(refusal.reason());
        refusal.response()
    }

    /// It was not to be allowed after all.
    pub(super) fn deny(mut self, refusal: &Refusal) -> Response<Body> {
        if let Some(mut guess) = self.dues.guess.take() {
            guess.answered(None, true);
        }
        self.recorder.refuse(refusal)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Recorder { passage, tally, .. } = &mut self.recorder;
        let is_unreachable = passage.failure == Some(Reason::Unreachable);
        let guess = self.dues.guess.as_mut();
        passage.is_missing = guess.is_some_and(|guess| guess.answered(passage.status, is_unreachable));
        passage.failure = passage.failure.or(tally.failure.get()).or(self.cut.get());
    }
}
