//! Waits for every child, in one place.
//!
//! As PID 1 the agent inherits orphans, and waiting for "any child" would take the exit of a child from whoever else waits
//! for it. So nobody else does: children are started through [`Reaper::spawn`] and the one loop tells each [`Process`].

use std::{
    collections::HashMap,
    io,
    process::Child,
    sync::{Arc, Mutex},
};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitOptions, WaitStatus, kill_process_group, test_kill_process, test_kill_process_group,
    },
};
use tokio::{
    signal::unix::{Signal as Signals, SignalKind, signal},
    sync::oneshot,
};

use crate::lock::lock;

/// Knows every child that is not yet reaped.
#[derive(Debug, Default)]
pub struct Reaper {
    children: Mutex<HashMap<Pid, oneshot::Sender<Exit>>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    Code(u32),
    /// Killed by the signal with this number.
    Signal(i32),
}

/// A child, which leads its own process group.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    reaper: Arc<Reaper>,
}

/// Resolves when the child has ended.
pub type Ended = oneshot::Receiver<Exit>;

impl Reaper {
    /// Starts a child with `start`, which must make it the leader of a process group.
    pub fn spawn(
        self: &Arc<Self>,
        start: impl FnOnce() -> io::Result<Child>,
    ) -> io::Result<(Child, Process, Ended)> {
        // Held until the child is known, so that the loop cannot meet it before.
        let mut children = lock(&self.children);
        let child = start()?;
        let pid = Pid::from_child(&child);
        let (sender, ended) = oneshot::channel();
        children.insert(pid, sender);
        drop(children);
        Ok((child, Process { pid, reaper: Arc::clone(self) }, ended))
    }

    /// Starts to watch for ended children; the future reaps them for ever. Call it before the first [`Reaper::spawn`].
    pub fn run(self: &Arc<Self>) -> io::Result<impl Future<Output = ()> + use<>> {
        let mut ended: Signals = signal(SignalKind::child())?;
        let reaper = Arc::clone(self);
        // Only PID 1 is given orphans; a process that is not must leave alone what it does not know.
        let adopts = rustix::process::getpid().is_init();
        Ok(async move {
            while ended.recv().await.is_some() {
                reaper.reap(adopts);
            }
        })
    }

    fn reap(&self, adopts: bool) {
        let mut children = lock(&self.children);
        if adopts {
            while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                tell(children.remove(&pid), status);
            }
            return;
        }
        let known: Vec<Pid> = children.keys().copied().collect();
        for pid in known {
            if let Ok(Some((_, status))) = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
                tell(children.remove(&pid), status);
            }
        }
    }
}

/// Tells whoever waits. Nobody waits for an orphan, and a session that was closed does not either.
fn tell(waiting: Option<oneshot::Sender<Exit>>, status: WaitStatus) {
    let exit = match status.terminating_signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.exit_status().and_then(|code| u32::try_from(code).ok()).unwrap_or(255)),
    };
    if let Some(waiting) = waiting {
        waiting.send(exit).ok();
    }
}

impl Process {
    /// Signals the process group, also when its leader has ended and left others behind.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = self.with_group(|group| kill_process_group(group, signal))
            && error != Errno::SRCH
        {
            tracing::warn!(pid = self.pid.as_raw_nonzero(), %error, "cannot signal a session");
        }
    }

    /// Whether anything of the process group is left.
    pub fn is_left(&self) -> bool {
        self.with_group(test_kill_process_group) != Err(Errno::SRCH)
    }

    fn with_group(&self, act: impl FnOnce(Pid) -> Result<(), Errno>) -> Result<(), Errno> {
        let children = lock(&self.reaper.children);
        // The kernel gives a number out again only when the process and its group are gone. So once the leader is reaped, a
        // process of its number is a stranger, and as long as there is none the group is what the leader left.
        let is_ours = children.contains_key(&self.pid) || test_kill_process(self.pid) == Err(Errno::SRCH);
        if is_ours { act(self.pid) } else { Err(Errno::SRCH) }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::CommandExt as _, process::Command};

    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).process_group(0);
        command
    }

    #[tokio::test]
    async fn each_child_is_told_how_it_ended() {
        let reaper = Arc::new(Reaper::default());
        let reaping = tokio::spawn(reaper.run().unwrap());
        let spawn = |script: &str| reaper.spawn(|| sh(script).spawn()).unwrap();
        let (_, _three, three) = spawn("exit 3");
        let (_, _term, term) = spawn("kill -TERM $$");
        let (_, sleeper, slept) = spawn("sleep 100");
        // One that no shell has its background jobs ignore.
        sleeper.signal(Signal::USR1);
        assert_eq!(three.await, Ok(Exit::Code(3)));
        assert_eq!(term.await, Ok(Exit::Signal(15)));
        assert_eq!(slept.await, Ok(Exit::Signal(10)));
        sleeper.signal(Signal::KILL);
        assert!(lock(&reaper.children).is_empty());
        reaping.abort();
    }

    #[tokio::test]
    async fn a_command_that_does_not_start_is_no_child() {
        let reaper = Arc::new(Reaper::default());
        let reaping = tokio::spawn(reaper.run().unwrap());
        assert!(reaper.spawn(|| Command::new("/nowhere").spawn()).is_err());
        assert!(lock(&reaper.children).is_empty());
        reaping.abort();
    }
}
