//! Writes down what was allowed when it is over, however it ends: a request, or a connection that nobody looks into.

use std::sync::{Arc, Mutex};

use http::Response;
use tokio::time::Instant;
use ws_api::reason::Reason;
use ws_policy::decide::Allowed;

use crate::{
    audit::{Passage, Subject},
    body::{Body, Tally},
    budget,
    proxy::Proxy,
    refusal::Refusal,
    session::{Session, lock},
};

/// What was allowed, until it is over: when this is dropped, it is written down with what was counted.
pub(crate) struct Recorder {
    pub proxy: Arc<Proxy>,
    pub session: Arc<Session>,
    subject: Subject,
    /// None: it was not to be allowed after all.
    passage: Mutex<Option<Passage>>,
    pub tally: Tally,
    began: Instant,
}

impl Recorder {
    pub fn new(
        proxy: Arc<Proxy>,
        session: Arc<Session>,
        subject: Subject,
        passage: Passage,
        tally: Tally,
    ) -> Self {
        let (passage, began) = (Mutex::new(Some(passage)), Instant::now());
        Self { proxy, session, subject, passage, tally, began }
    }

    /// Takes bytes that are sent out of the budget, and counts them.
    pub async fn spend(&self, allowed: &Allowed, bytes: u64) -> Result<(), Reason> {
        let sent = &self.tally.sent;
        let within = budget::spend(&self.proxy.reports, &self.session, allowed, sent, bytes).await;
        within.map_err(|refusal| refusal.reason())?;
        sent.add(bytes);
        Ok(())
    }

    /// Takes note of how it went.
    pub fn note(&self, what: impl FnOnce(&mut Passage)) {
        if let Some(passage) = &mut *lock(&self.passage) {
            what(passage);
        }
    }

    /// It was not to be allowed after all. Whoever refuses it writes that down.
    pub fn forget(&self) {
        *lock(&self.passage) = None;
    }

    /// As [`Recorder::forget`], and writes that down.
    pub fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        self.forget();
        self.proxy.refuse(Some(&self.session), &self.subject, refusal)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let passage = lock(&self.passage).take();
        if let Some(passage) = passage {
            let passage = Passage {
                failure: passage.failure.or(self.tally.failure.get()),
                sent_bytes: self.tally.sent.get(),
                received_bytes: self.tally.received.get(),
                took: self.began.elapsed(),
                ..passage
            };
            self.proxy.passed(&self.session, &self.subject, passage);
        }
    }
}
