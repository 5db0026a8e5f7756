//! How many lines one workspace may write into the audit log. Pure.

use std::time::{Duration, Instant};

use crate::metrics::Decision;

/// Time in which more lines become free.
pub const REFILL: Duration = Duration::from_secs(1);
/// Of denials.
const DENIED: Limits = Limits { lines: 32, refill: 1 };
/// Of what is allowed: as many as an installation of packages asks for.
const ALLOWED: Limits = Limits { lines: 2_048, refill: 32 };

/// Lines that may follow each other at once, and lines that become free with each [`REFILL`].
#[derive(Clone, Copy, Debug)]
struct Limits {
    lines: u32,
    refill: u32,
}

/// Numbers a workspace's decisions, and tells which of them get a line.
#[derive(Debug)]
pub struct Burst {
    decisions: u64,
    denied: Bucket,
    allowed: Bucket,
}

/// A token bucket that counts those that got none.
#[derive(Debug)]
struct Bucket {
    limits: Limits,
    free: u32,
    refilled: Option<Instant>,
    held: u64,
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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    pub count: u64,
    /// Number of the last decision so far.
    pub seq: u64,
}

impl Default for Burst {
    fn default() -> Self {
        Self { decisions: 0, denied: Bucket::new(DENIED), allowed: Bucket::new(ALLOWED) }
    }
}

impl Burst {
    /// Admits the next decision.
    pub fn admit(&mut self, decision: Decision, now: Instant) -> Admission {
        self.decisions += 1;
        let seq = self.decisions;
        let bucket = self.bucket(decision);
        if bucket.take(now) {
            Admission::Write { seq }
        } else {
            Admission::Hold { seq, first: bucket.held == 1 }
        }
    }

    /// Takes what was held.
    pub fn release(&mut self, decision: Decision) -> Held {
        Held { count: std::mem::take(&mut self.bucket(decision).held), seq: self.decisions }
    }

    fn bucket(&mut self, decision: Decision) -> &mut Bucket {
        match decision {
            Decision::Allowed => &mut self.allowed,
            Decision::Denied => &mut self.denied,
        }
    }
}

impl Bucket {
    fn new(limits: Limits) -> Self {
        Self { limits, free: limits.lines, refilled: None, held: 0 }
    }

    /// Takes a line; otherwise it is held.
    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let Some(free) = self.free.checked_sub(1) else {
            self.held += 1;
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
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_a_burst_and_then_a_line_a_second_and_all_is_counted() {
        let (mut burst, start) = (Burst::default(), Instant::now());
        let mut written = 0;
        let mut held = 0;
        for millisecond in 0..10_000 {
            match burst.admit(Decision::Denied, start + Duration::from_millis(millisecond)) {
                Admission::Write { seq } => {
                    written += 1;
                    assert_eq!(seq, millisecond + 1);
                }
                Admission::Hold { seq, first } => {
                    assert_eq!((seq, first), (millisecond + 1, burst.denied.held == 1));
                }
            }
            if millisecond % 1_000 == 999 {
                held += burst.release(Decision::Denied).count;
            }
        }
        assert_eq!((written, held), (u64::from(DENIED.lines) + 9, 10_000 - u64::from(DENIED.lines) - 9));
        assert_eq!(burst.release(Decision::Denied), Held { count: 0, seq: 10_000 });
    }

    /// One that has no more lines for denials, and since when.
    fn spent() -> (Burst, Instant) {
        let (mut burst, now) = (Burst::default(), Instant::now());
        for _ in 0..DENIED.lines {
            assert!(matches!(burst.admit(Decision::Denied, now), Admission::Write { .. }));
        }
        assert!(matches!(burst.admit(Decision::Denied, now), Admission::Hold { first: true, .. }));
        (burst, now)
    }

    #[test]
    fn a_quiet_workspace_gets_its_burst_back() {
        let (mut burst, start) = spent();
        let later = start + REFILL * DENIED.lines * 2;
        for _ in 0..DENIED.lines {
            assert!(matches!(burst.admit(Decision::Denied, later), Admission::Write { .. }));
        }
        assert!(matches!(burst.admit(Decision::Denied, later), Admission::Hold { first: false, .. }));
    }

    #[test]
    fn denials_take_no_line_from_what_is_allowed() {
        let (mut burst, now) = spent();
        assert!(matches!(burst.admit(Decision::Allowed, now), Admission::Write { seq: 34 }));
        assert_eq!(burst.release(Decision::Allowed).count, 0);
    }
}
