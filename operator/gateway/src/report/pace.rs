//! When a workspace's status is written: at once after a quiet time, then after a pause each time. An object that changes costs the
//! API server and everybody who watches it.

use std::time::Duration;

use tokio::time::Instant;

use super::INTERVAL;

/// The time between two writes of a workspace that ends: it takes about a second, and what is not written by then is in no sum.
const ENDING: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
    urgency: Urgency,
    is_ending: bool,
}

/// How soon what is pending has to be written.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Urgency {
    /// When it is the workspace's turn among all that have something to say.
    #[default]
    Turn,
    /// However many they are, [`INTERVAL`] after what was written last.
    News,
    /// At once: somebody waits for it.
    Awaited,
}

impl Pace {
    /// How long the next write has to wait, with this pause between two.
    pub fn wait(&self, now: Instant, pause: Duration) -> Duration {
        let pause = match self.urgency {
            Urgency::Awaited => Duration::ZERO,
            _ if self.is_ending => ENDING,
            Urgency::Turn => pause,
            Urgency::News => INTERVAL.min(pause),
        };
        self.last.map_or(Duration::ZERO, |last| pause.saturating_sub(now.saturating_duration_since(last)))
    }

    /// What is pending is at least as urgent as this; whether it was less before.
    pub fn urge(&mut self, urgency: Urgency) -> bool {
        let is_more = self.urgency < urgency;
        self.urgency = self.urgency.max(urgency);
        is_more
    }

    /// Takes note that the workspace ends; whether that was not known.
    pub fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.is_ending, true)
    }

    /// Takes note that what is pending is being written. If that fails, it takes its turn.
    pub fn begin(&mut self) {
        self.urgency = Urgency::Turn;
    }

    /// Takes note of a write, successful or not.
    pub fn wrote(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_at_once_and_then_after_each_pause() {
        let (mut pace, start, pause) = (Pace::default(), Instant::now(), Duration::from_secs(1));
        assert_eq!(pace.wait(start, pause), Duration::ZERO);
        pace.wrote(start);
        for (after, wait) in [(0, 1_000), (300, 700), (1_000, 0), (60_000, 0)] {
            let now = start + Duration::from_millis(after);
            assert_eq!(pace.wait(now, pause), Duration::from_millis(wait), "{after} ms later");
        }
    }

    #[test]
    fn what_is_urgent_waits_less_until_it_is_tried() {
        let (mut pace, start, pause) = (Pace::default(), Instant::now(), INTERVAL * 30);
        pace.wrote(start);
        for (urgency, is_more, wait) in [
            (Urgency::Turn, false, pause),
            (Urgency::News, true, INTERVAL),
            (Urgency::News, false, INTERVAL),
            (Urgency::Awaited, true, Duration::ZERO),
            (Urgency::News, false, Duration::ZERO),
        ] {
            assert_eq!(pace.urge(urgency), is_more, "{urgency:?}");
            assert_eq!(pace.wait(start, pause), wait, "{urgency:?}");
        }
        pace.begin();
        assert_eq!(pace.wait(start, pause), pause);
    }

    #[test]
    fn of_a_workspace_that_ends_everything_is_written_soon() {
        let (mut pace, start, pause) = (Pace::default(), Instant::now(), INTERVAL * 30);
        pace.wrote(start);
        assert!(pace.end() && !pace.end());
        for _ in 0..2 {
            assert_eq!(pace.wait(start, pause), ENDING);
            pace.urge(Urgency::News);
            assert_eq!(pace.wait(start, pause), ENDING);
            pace.begin();
        }
    }
}
