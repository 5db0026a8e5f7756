//! Starting, recognising and ending the lab's processes.
//!
//! A process is known by its pid *and* the time it started at, so a recycled pid is never taken for ours.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::network::namespace;

/// How often an ending process is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A process that was seen alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pid: i32,
    /// Clock ticks between the machine's start and the process's.
    started: u64,
}

impl Process {
    /// The process with this pid, unless there is none or it is a zombie: that one ran to its end, whenever its parent
    /// looks.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        started(&stat).map(|started| Self { pid, started })
    }

    /// Whether exactly this process still runs.
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Its number.
    pub fn pid(self) -> i32 {
        self.pid
    }

    /// Sends `signal` if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // It may end between the two lines; then there is nothing to signal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Proportional share of memory in KiB; `None` once it is gone.
    pub fn memory_kib(self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }
}

/// The start time in a line of `/proc/PID/stat`; `None` for a zombie.
fn started(stat: &str) -> Option<u64> {
    // The program's name is in parentheses and may hold anything, parentheses and spaces too.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    // `starttime` is field 22 of the line, `state` is field 3.
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

/// Starts `command` in a network namespace, in a process group of its own, with its output appended to `log`.
pub fn start(mut command: Command, network: &str, log: &Path) -> Result<Process> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = File::options().create(true).append(true).open(log).context("opening a log")?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("sharing a log")?)
        .stderr(output)
        .process_group(0);
    let child = namespace::enter(network, || command.spawn())?.with_context(|| format!("starting {name}"))?;
    let pid = i32::try_from(child.id()).context("a pid beyond i32")?;
    match Process::find(pid) {
        Some(process) => Ok(process),
        None => bail!("{name} ended at once"),
    }
}

/// Kills `processes` and waits until none is left.
pub fn kill(processes: &[Process], patience: Duration) -> Result<()> {
    end(processes, Signal::KILL, patience)
}

/// Sends `signal` to `processes` and waits until none is left.
pub fn end(processes: &[Process], signal: Signal, patience: Duration) -> Result<()> {
    for process in processes {
        process.signal(signal);
    }
    let deadline = Instant::now() + patience;
    loop {
        let Some(stubborn) = processes.iter().find(|process| process.is_alive()) else { return Ok(()) };
        if Instant::now() > deadline {
            bail!("process {} did not end within {patience:?} of {signal:?}", stubborn.pid);
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "17 (a) b) c) S 1 17 17 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 9 10";

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        assert_eq!(started(STAT), Some(424_242));
    }

    #[test]
    fn a_zombie_is_gone() {
        assert_eq!(started(&STAT.replace(" S ", " Z ")), None);
    }

    #[test]
    fn a_recycled_pid_is_another_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = Process::find(own).unwrap();
        assert!(process.is_alive());
        assert!(!Process { started: process.started + 1, ..process }.is_alive());
    }

    #[test]
    fn an_ended_process_is_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::find(i32::try_from(child.id()).unwrap()).unwrap();
        kill(&[process], Duration::from_secs(5)).unwrap();
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
