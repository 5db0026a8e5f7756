//! What an exchange was, written down when it is over.

use std::sync::Arc;

use http::{Response, StatusCode};
use ws_api::reason::Reason;
use ws_policy::{decide::Allowed, request::Request};

use super::Asker;
use crate::{
    audit::Passage,
    body::{Body, Failure, Tally},
    budget::{NotFoundSlot, Reserved},
    proxy::Proxy,
    recorder::Recorder,
    refusal::Refusal,
    session::{Session, Turn},
};

/// What an exchange holds as long as it is under way: until both its body and its answer are at their ends. A host may answer before
/// it has the whole body, and goes on reading.
pub(crate) struct UnderWay {
    /// Before the rest: what was sent is written down before what was not is given back.
    recorder: Recorder,
    _dues: Dues,
}

/// What an exchange has taken of what its workspace may have.
pub(crate) struct Dues {
    pub _turn: Turn,
    /// What was not sent of it is given back.
    pub _reserved: Reserved,
}

/// Takes note of what comes of an exchange. It is written down when that is over, however it ends.
pub(crate) struct Record {
    under_way: Arc<UnderWay>,
    /// Given back if there was something.
    slot: Option<NotFoundSlot>,
    /// Why its connection was ended.
    cut: Failure,
}

impl Record {
    pub(super) fn new(
        proxy: &Arc<Proxy>,
        asker: &Asker,
        request: &Request,
        passage: Passage,
        tally: Tally,
        (dues, slot): (Dues, Option<NotFoundSlot>),
    ) -> Self {
        let subject = asker.subject(request);
        let recorder = Recorder::new(proxy.clone(), asker.session.clone(), subject, passage, tally);
        Self { under_way: Arc::new(UnderWay { recorder, _dues: dues }), slot, cut: asker.cut.clone() }
    }

    /// For what goes on with the body.
    pub(super) fn under_way(&self) -> Arc<UnderWay> {
        self.under_way.clone()
    }

    pub(super) fn session(&self) -> &Session {
        &self.under_way.recorder.session
    }

    /// What was counted.
    pub(crate) fn tally(&self) -> &Tally {
        &self.under_way.recorder.tally
    }

    /// Takes bytes that are sent out of the budget, and counts them.
    pub(crate) async fn spend(&self, allowed: &Allowed, bytes: u64) -> Result<(), Reason> {
        self.under_way.recorder.spend(allowed, bytes).await
    }

    pub(super) fn answered(&self, status: StatusCode) {
        self.under_way.recorder.note(|passage| passage.status = Some(status));
    }

    /// It was allowed and did not come to its end.
    pub(crate) fn fail(self, refusal: &Refusal) -> Response<Body> {
        self.under_way.recorder.note(|passage| passage.failure = Some(refusal.reason()));
        refusal.response()
    }

    /// It was not to be allowed after all.
    pub(super) fn deny(mut self, refusal: &Refusal) -> Response<Body> {
        self.unsent();
        self.under_way.recorder.refuse(refusal)
    }

    /// Nothing of it was sent.
    pub(super) fn unsent(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.give_back();
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self { under_way, slot, cut } = self;
        let UnderWay { recorder, .. } = &**under_way;
        recorder.note(|passage| {
            passage.is_missing = slot.as_mut().is_some_and(|slot| slot.answered(passage.status));
            passage.failure = passage.failure.or(recorder.tally.failure.get()).or(cut.get());
        });
    }
}
