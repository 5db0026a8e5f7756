//! Budgets: how many bytes a workspace may send, in one request and in its life.
//!
//! The bytes of a life are one number for all replicas of the gateway, in the Workspace's status. A replica sets some of them aside
//! there before it sends them, in shares, so that not each request waits for the API server. What it had set aside and not sent
//! when it ends is lost: less is sent than allowed, never more.

use std::sync::Arc;

use http::StatusCode;
use ws_policy::{
    class::Rule,
    decide::{Allowed, Budget, BudgetScope},
};

use crate::{
    body::Counter,
    refusal::Refusal,
    report::{Reports, Unreserved},
    session::Session,
};

/// A share is this part of a budget, at most [`MAX_SHARE`].
const SHARES: u64 = 16;
const MAX_SHARE: u64 = 4 << 20;
/// How often others may be faster with what was set aside for this one.
const ATTEMPTS: usize = 4;

/// Bytes that may be sent. Those that were not are given back to the session when this is dropped.
#[derive(Debug)]
pub struct Reserved {
    session: Arc<Session>,
    scope: Option<BudgetScope>,
    /// How many; none: any number.
    bytes: Option<u64>,
    /// How many were sent.
    sent: Counter,
}

/// One of the answers of a rule that may say there is no such thing. It is taken before anything is asked, and given back when this is
/// dropped if there was something.
#[derive(Debug)]
pub struct NotFoundSlot {
    session: Arc<Session>,
    rule: String,
    is_right: bool,
}

/// Sets aside what a request may send: at least `least` bytes, at most `most`. Counts what is `sent`.
pub async fn reserve(
    reports: &Reports,
    session: &Arc<Session>,
    allowed: &Allowed,
    (least, most): (u64, u64),
    sent: Counter,
) -> Result<Reserved, Refusal> {
    let budget = allowed.budget();
    within_request(allowed, &budget, least)?;
    let most = budget.request.map_or(most, |max| most.min(max));
    set_aside(reports, session, allowed, budget, (least, most), sent).await
}

/// Takes bytes that are sent in any case, out of the budget of what allows them: so many `more`, of a request that has `sent` others.
pub async fn spend(
    reports: &Reports,
    session: &Arc<Session>,
    allowed: &Allowed,
    sent: &Counter,
    more: u64,
) -> Result<(), Refusal> {
    let budget = allowed.budget();
    within_request(allowed, &budget, sent.get().saturating_add(more))?;
    // Nothing of them is given back.
    let counted = Counter::default();
    counted.add(more);
    set_aside(reports, session, allowed, budget, (more, more), counted).await.map(drop)
}

/// Whether one request may send so many bytes in all.
fn within_request(allowed: &Allowed, budget: &Budget, bytes: u64) -> Result<(), Refusal> {
    match budget.request.filter(|max| bytes > *max) {
        Some(max) => Err(Refusal::RequestTooLong { rule: allowed.rule().name.clone(), max }),
        None => Ok(()),
    }
}

/// Sets aside what one request is known to be allowed.
async fn set_aside(
    reports: &Reports,
    session: &Arc<Session>,
    allowed: &Allowed,
    budget: Budget,
    (least, most): (u64, u64),
    sent: Counter,
) -> Result<Reserved, Refusal> {
    let rule = || allowed.rule().name.clone();
    let reserved = |scope, bytes| Reserved { session: session.clone(), scope, bytes, sent };
    let Some(life) = budget.life else {
        return Ok(reserved(None, budget.request));
    };
    let (scope, limit) = &life;
    for _ in 0..ATTEMPTS {
        if let Some(bytes) = take(session, scope, least, most) {
            return Ok(reserved(Some(scope.clone()), Some(bytes)));
        }
        let share = (limit / SHARES).clamp(1, MAX_SHARE).max(most);
        // It is rare, and its future large.
        match Box::pin(reports.reserve(session, &life, least, share)).await {
            Ok(bytes) => *session.shares().entry(scope.clone()).or_default() += bytes,
            Err(Unreserved::Spent) => return Err(Refusal::Spent { rule: rule(), max: *limit }),
            Err(Unreserved::Unknown) => return Err(Refusal::BudgetUnknown(rule())),
        }
    }
    Err(Refusal::BudgetUnknown(rule()))
}

/// Takes one of the answers that a rule has left which may say there is no such thing; none if it does not count them.
///
/// They are counted by each replica for itself, from what the status says when it first needs to know: a workspace speaks to one
/// replica as long as that lives.
pub async fn not_found_slot(
    reports: &Reports,
    session: &Arc<Session>,
    allowed: &Allowed,
) -> Result<Option<NotFoundSlot>, Refusal> {
    let Rule { name: rule, not_found: Some(max), .. } = allowed.rule() else { return Ok(None) };
    if !session.not_found().contains_key(rule) {
        let before = Box::pin(reports.not_found(session, rule)).await;
        let before = before.map_err(|_| Refusal::BudgetUnknown(rule.clone()))?;
        session.not_found().entry(rule.clone()).or_insert(before);
    }
    let mut counts = session.not_found();
    let count = counts.entry(rule.clone()).or_default();
    if *count >= *max {
        return Err(Refusal::NotFoundSpent { rule: rule.clone(), max: *max });
    }
    *count += 1;
    Ok(Some(NotFoundSlot { session: session.clone(), rule: rule.clone(), is_right: false }))
}

/// Takes bytes that are set aside already.
fn take(session: &Session, scope: &BudgetScope, least: u64, most: u64) -> Option<u64> {
    let mut shares = session.shares();
    let left = shares.get_mut(scope).filter(|left| **left >= least)?;
    let bytes = most.min(*left);
    *left -= bytes;
    Some(bytes)
}

impl Reserved {
    /// How many bytes may be sent; none: any number.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let (Some(scope), Some(bytes)) = (self.scope.take(), self.bytes) {
            let unsent = bytes.saturating_sub(self.sent.get());
            *self.session.shares().entry(scope).or_default() += unsent;
        }
    }
}

impl NotFoundSlot {
    /// Takes note of the answer; whether it said that there is no such thing, in whichever words: a registry may as well say that it
    /// is forbidden. What is broken off before an answer was asked as well.
    pub fn answered(&mut self, status: Option<StatusCode>) -> bool {
        let asks_to_wait = |status| {
            matches!(
                status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            )
        };
        self.is_right = status.is_some_and(|status| !status.is_client_error() || asks_to_wait(status));
        !self.is_right
    }

    /// Nothing was asked.
    pub fn give_back(mut self) {
        self.is_right = true;
    }
}

impl Drop for NotFoundSlot {
    fn drop(&mut self) {
        if self.is_right
            && let Some(count) = self.session.not_found().get_mut(&self.rule)
        {
            *count = count.saturating_sub(1);
        }
    }
}
