//! How many lines one workspace may write into the audit log. Pure.

use std::time::{Duration, Instant};

/// Lines that may follow each other at once.
pub const LINES: u32 = 32;
/// Time in which one more line becomes free.
pub const REFILL: Duration = Duration::from_secs(1);

/// A token bucket that also numbers the decisions and counts those that got no line.
#[derive(Debug)]
pub struct Burst {
    free: u32,
    refilled: Option<Instant>,
    decisions: u64,
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
        Self { free: LINES, refilled: None, decisions: 0, held: 0 }
    }
}

impl Burst {
    /// Admits the next decision.
    pub fn admit(&mut self, now: Instant) -> Admission {
        self.refill(now);
        self.decisions += 1;
        if let Some(free) = self.free.checked_sub(1) {
            self.free = free;
            return Admission::Write { seq: self.decisions };
        }
        self.held += 1;
        Admission::Hold { first: self.held == 1 }
    }

    /// Takes what was held.
    pub fn release(&mut self) -> Held {
        Held { count: std::mem::take(&mut self.held), seq: self.decisions }
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.refilled.get_or_insert(now);
        let lines = u32::try_from(now.duration_since(since).as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if lines > 0 {
            self.free = self.free.saturating_add(lines).min(LINES);
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
            match burst.admit(start + Duration::from_millis(millisecond)) {
                Admission::Write { seq } => {
                    written += 1;
                    assert_eq!(seq, millisecond + 1);
                }
                Admission::Hold { first } => assert_eq!(first, burst.held == 1),
            }
            if millisecond % 1_000 == 999 {
                held += burst.release().count;
            }
        }
        assert_eq!((written, held), (u64::from(LINES) + 9, 10_000 - u64::from(LINES) - 9));
        assert_eq!(burst.release(), Held { count: 0, seq: 10_000 });
    }

    #[test]
    fn a_quiet_workspace_gets_its_burst_back() {
        let (mut burst, start) = (Burst::default(), Instant::now());
        while burst.admit(start) != (Admission::Hold { first: true }) {}
        let later = start + REFILL * LINES * 2;
        for _ in 0..LINES {
            assert!(matches!(burst.admit(later), Admission::Write { .. }));
        }
        assert_eq!(burst.admit(later), Admission::Hold { first: false });
    }
}
