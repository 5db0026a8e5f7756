//! Which decisions on one workspace get a line of their own in the audit log, and what is said of the others. Pure.
//!
//! A flood gets so many lines, and the rest of it is summed up by rule and reason, so that no byte is missing there. What sends has
//! lines of its own, which a flood of what only reads does not use up; and what sends much has its line in any case.

use std::time::{Duration, Instant};

use serde::Serialize;

use ws_api::reason::Reason;

use crate::metrics::Decision;

/// Time in which more lines become free.
pub const REFILL: Duration = Duration::from_secs(1);
/// Of denials.
const DENIED: Limits = Limits { lines: 32, refill: 1 };
/// Of what is allowed and only reads: as many as an installation of packages asks for.
const READING: Limits = Limits { lines: 2_048, refill: 32 };
/// Of what is allowed and may send more than its head.
const SENDING: Limits = Limits { lines: 2_048, refill: 32 };
/// Bytes that are never sent without a line. It is shorter than that, so that the log grows by less than budgets let a workspace send.
const MUCH: u64 = 1 << 10;

/// Lines that may follow each other at once, and lines that become free with each [`REFILL`].
#[derive(Clone, Copy, Debug)]
struct Limits {
    lines: u32,
    refill: u32,
}

/// A decision, as far as its line or its part of a sum hangs on it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub decision: Decision,
    /// The rule that allowed it.
    pub rule: Option<&'a str>,
    pub reason: Option<Reason>,
    /// Whether it may send more than its head.
    pub sends: bool,
    pub traffic: Traffic,
}

/// Bytes that passed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// Numbers a workspace's decisions, and tells which of them get a line.
#[derive(Debug)]
pub struct Burst {
    decisions: u64,
    denied: Bucket,
    reading: Bucket,
    sending: Bucket,
    held_denied: Vec<Sum>,
    held_allowed: Vec<Sum>,
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    limits: Limits,
    free: u32,
    refilled: Option<Instant>,
}

/// What to do with a decision. The number is the workspace's decisions so far, this one included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Write {
        seq: u64,
    },
    /// No line; the first one that is held must see to it that [`Burst::release`] is called.
    Hold {
        seq: u64,
        first: bool,
    },
}

/// Decisions that got no line of their own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    pub sums: Vec<Sum>,
    /// Number of the last decision so far.
    pub seq: u64,
}

/// Those that are alike. There are as many sums as a class has rules, each with the reasons there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sum {
    pub rule: Option<String>,
    pub reason: Option<Reason>,
    pub count: u64,
    pub traffic: Traffic,
}

impl Default for Burst {
    fn default() -> Self {
        Self {
            decisions: 0,
            denied: Bucket::new(DENIED),
            reading: Bucket::new(READING),
            sending: Bucket::new(SENDING),
            held_denied: Vec::new(),
            held_allowed: Vec::new(),
        }
    }
}

impl Burst {
    /// Admits the next decision.
    pub fn admit(&mut self, entry: Entry<'_>, now: Instant) -> Admission {
        self.decisions += 1;
        let seq = self.decisions;
        let sends_much = entry.sends && entry.traffic.sent_bytes >= MUCH;
        if sends_much || self.bucket(entry).take(now) {
            return Admission::Write { seq };
        }
        let held = self.held(entry.decision);
        let first = held.is_empty();
        add(held, entry);
        Admission::Hold { seq, first }
    }

    /// Takes what was held.
    pub fn release(&mut self, decision: Decision) -> Held {
        Held { sums: std::mem::take(self.held(decision)), seq: self.decisions }
    }

    fn bucket(&mut self, entry: Entry<'_>) -> &mut Bucket {
        match entry.decision {
            Decision::Allowed if entry.sends => &mut self.sending,
            Decision::Allowed => &mut self.reading,
            Decision::Denied => &mut self.denied,
        }
    }

    fn held(&mut self, decision: Decision) -> &mut Vec<Sum> {
        match decision {
            Decision::Allowed => &mut self.held_allowed,
            Decision::Denied => &mut self.held_denied,
        }
    }
}

/// Adds a decision to those that are like it.
fn add(held: &mut Vec<Sum>, entry: Entry<'_>) {
    let Entry { rule, reason, traffic, .. } = entry;
    match held.iter_mut().find(|sum| sum.rule.as_deref() == rule && sum.reason == reason) {
        Some(sum) => {
            sum.count += 1;
            sum.traffic.sent_bytes = sum.traffic.sent_bytes.saturating_add(traffic.sent_bytes);
            sum.traffic.received_bytes = sum.traffic.received_bytes.saturating_add(traffic.received_bytes);
        }
        None => held.push(Sum { rule: rule.map(str::to_owned), reason, count: 1, traffic }),
    }
}

impl Bucket {
    fn new(limits: Limits) -> Self {
        Self { limits, free: limits.lines, refilled: None }
    }

    /// Takes a line, if one is free.
    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let Some(free) = self.free.checked_sub(1) else {
            return false;
        };
        self.free = free;
        true
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.refilled.get_or_insert(now);
        let times = u32::try_from(now.duration_since(since).as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if times > 0 {
            let lines = times.saturating_mul(self.limits.refill);
            self.free = self.free.saturating_add(lines).min(self.limits.lines);
            self.refilled = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
