//! When a workspace's status is written: at once after a quiet time, then after a pause each time. An object that changes costs the
//! API server and everybody who watches it.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
}

impl Pace {
    /// How long the next write has to wait, with this pause between two.
    pub fn wait(&self, now: Instant, pause: Duration) -> Duration {
        self.last.map_or(Duration::ZERO, |last| pause.saturating_sub(now.saturating_duration_since(last)))
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
}
