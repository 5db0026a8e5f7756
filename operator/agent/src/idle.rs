//! Ends a workspace that nobody uses, so that a laptop that died leaves no pod behind.
//!
//! A workspace is in use while somebody is logged in or while what runs in it uses the processor: a coding agent that works on
//! after its user has detached is not idle, a file watcher that was left behind is.

mod stat;

use std::{
    collections::HashMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use ws_api::termination::{Ending, Reason};

use crate::activity::Activity;

/// Processor time of each process in clock ticks. A process is its number and the time it began.
type Usage = HashMap<(u32, u64), u64>;

/// The shortest and the longest time between two looks.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Below this share of one processor, in percent, nothing is worked on.
const WORK: u128 = 1;

/// Resolves when the workspace was unused for `limit`.
pub async fn expired(limit: Duration, activity: &Activity) -> Ending {
    let began = Instant::now();
    let mut idle = Idle::new(limit, rustix::param::clock_ticks_per_second(), usage(Path::new("/proc")));
    let pause = (limit / 5).clamp(LOOKS.0, LOOKS.1);
    loop {
        tokio::time::sleep(pause).await;
        if idle.observe(began.elapsed(), activity.is_connected(), usage(Path::new("/proc"))) {
            return ending(limit, activity.was_attached());
        }
    }
}

fn ending(limit: Duration, attached: bool) -> Ending {
    let limit = limit.as_secs();
    let message = if attached {
        format!("nobody was connected and nothing ran for {limit} s")
    } else {
        format!("nobody connected within {limit} s")
    };
    Ending { reason: Reason::Idle, message }
}

struct Idle {
    limit: Duration,
    /// Clock ticks in a second.
    rate: u64,
    last_use: Duration,
    last_look: Duration,
    before: Usage,
}

impl Idle {
    fn new(limit: Duration, rate: u64, usage: Usage) -> Self {
        Self { limit, rate, last_use: Duration::ZERO, last_look: Duration::ZERO, before: usage }
    }

    /// Takes what was seen at `now`, and tells whether the workspace is unused for too long.
    fn observe(&mut self, now: Duration, connected: bool, usage: Usage) -> bool {
        let before = |process| self.before.get(process).copied().unwrap_or(0);
        let used: u64 = usage.iter().map(|(process, ticks)| ticks.saturating_sub(before(process))).sum();
        let available = now.saturating_sub(self.last_look).as_millis() * u128::from(self.rate) / 1_000;
        let worked = u128::from(used) * 100 > available * WORK;
        (self.before, self.last_look) = (usage, now);
        if connected || worked {
            self.last_use = now;
        }
        now.saturating_sub(self.last_use) >= self.limit
    }
}

fn usage(proc: &Path) -> Usage {
    let Ok(entries) = fs::read_dir(proc) else { return Usage::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let read = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
        let (began, ticks) = stat::parse(&read, pid == 1)?;
        Some(((pid, began), ticks))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_processes() {
        assert!(!usage(Path::new("/proc")).is_empty());
    }

    #[test]
    fn a_workspace_is_idle_when_nobody_is_there_and_nothing_runs() {
        let seconds = Duration::from_secs;
        let usage = |ticks: &[u64]| -> Usage { (0u32..).zip(ticks).map(|(pid, t)| ((pid, 0), *t)).collect() };
        let mut idle = Idle::new(seconds(10), 100, usage(&[5, 5]));
        let looks = [
            (5, true, usage(&[5, 5]), false),
            (10, false, usage(&[5, 5]), false),
            (14, false, usage(&[5, 10]), false),
            (20, false, usage(&[5, 10]), false),
            (22, false, usage(&[5]), false),
            (23, false, usage(&[5, 0, 2]), false),
            (32, false, usage(&[5]), false),
            (33, false, usage(&[5]), true),
        ];
        for (now, connected, usage, expected) in looks {
            assert_eq!(idle.observe(seconds(now), connected, usage), expected, "at {now}");
        }
    }

    #[test]
    fn a_hundredth_of_a_processor_is_no_work_however_many_share_it() {
        // Three processes; what each uses in 30 s, of which a processor has 3,000 ticks.
        for (ticks, in_use) in [(0, false), (1, false), (10, false), (11, true), (1_000, true)] {
            let seen = |looks: u64| -> Usage { (0u32..3).map(|pid| ((pid, 0), looks * ticks)).collect() };
            let mut idle = Idle::new(Duration::from_mins(5), 100, seen(0));
            let mut ended = false;
            for look in 1..=10 {
                ended =
                    idle.observe(Duration::from_secs(30) * u32::try_from(look).unwrap(), false, seen(look));
            }
            assert_eq!(ended, !in_use, "{ticks}");
        }
    }
}
