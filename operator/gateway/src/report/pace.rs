//! When a workspace's status is written: at once after a quiet time, then ever more seldom for as long as there is something to
//! write. An object that changes costs the API server and everybody who watches it.

use std::time::Duration;

use tokio::time::Instant;

use super::{INTERVAL, MAX_PAUSE};

#[derive(Debug, Default)]
pub struct Pace {
    pause: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// How long the next write has to wait.
    pub fn wait(&mut self, now: Instant) -> Duration {
        match self.last.map(|last| now.saturating_duration_since(last)) {
            Some(since) if since < MAX_PAUSE => self.pause.saturating_sub(since),
            Some(_) | None => {
                self.pause = Duration::ZERO;
                Duration::ZERO
            }
        }
    }

    /// Takes note of a write, successful or not.
    pub fn wrote(&mut self, now: Instant) {
        self.pause = (self.pause * 2).clamp(INTERVAL, MAX_PAUSE);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds in which something is written, if there is something every `period` seconds, for three minutes.
    fn writes(period: u64) -> Vec<u64> {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut seconds = Vec::new();
        let mut now = 0;
        while now <= 180 {
            let wait = pace.wait(start + Duration::from_secs(now)).as_secs();
            seconds.push(now + wait);
            pace.wrote(start + Duration::from_secs(now + wait));
            now = (now + wait + 1).next_multiple_of(period);
        }
        seconds
    }

    #[test]
    fn it_is_written_at_once_and_then_ever_more_seldom() {
        for (period, expected) in [
            (1, vec![0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181]),
            (2, vec![0, 2, 4, 8, 16, 32, 62, 92, 122, 152, 182]),
            (20, vec![0, 20, 40, 60, 80, 100, 130, 160, 190]),
            (40, vec![0, 40, 80, 120, 160]),
        ] {
            assert_eq!(writes(period), expected, "something every {period} s");
        }
    }
}
