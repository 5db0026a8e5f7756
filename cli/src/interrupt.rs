//! SIGINT, SIGTERM and SIGHUP: the first asks for an orderly end, the second for an end at once.

use std::{fmt, fs, future::pending, io, time::Duration};

use tokio::{
    signal::unix::{self, SignalKind},
    time::{Instant, timeout_at},
};

use crate::error::Error;

/// How long after the first of them signals still belong to it: a terminal that closes sends two SIGHUP, and those who
/// supervise processes often send two different signals at once.
const ONE_WISH: Duration = Duration::from_secs(1);

/// A signal that asks the command to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    Interrupt,
    Terminate,
    Hangup,
}

impl Signal {
    /// What a shell reports of a process that died of the signal.
    pub fn exit_code(self) -> u8 {
        128 + match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        })
    }
}

/// The signals of this process. Once this exists they no longer end it by themselves.
pub struct Interrupts {
    interrupt: Arrivals,
    terminate: Arrivals,
    hangup: Arrivals,
}

/// None of a signal that this process was started to ignore, as `nohup` starts it for SIGHUP and a script in the background for
/// Ctrl-C: whoever did that wants it to go on.
struct Arrivals(Option<unix::Signal>);

impl Interrupts {
    /// Takes over the signals.
    pub fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let arrivals = |kind: SignalKind| {
            let is_ignored = ignored & 1 << (kind.as_raw_value() - 1) != 0;
            if is_ignored { Ok(Arrivals(None)) } else { unix::signal(kind).map(Some).map(Arrivals) }
        };
        Ok(Self {
            interrupt: arrivals(SignalKind::interrupt())?,
            terminate: arrivals(SignalKind::terminate())?,
            hangup: arrivals(SignalKind::hangup())?,
        })
    }

    /// The next signal, also one that came since the last call.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            () = self.interrupt.next() => Signal::Interrupt,
            () = self.terminate.next() => Signal::Terminate,
            () = self.hangup.next() => Signal::Hangup,
        }
    }

    /// Waits for the signal of somebody who insists: once a signal has asked for the end, the next that is not part of the
    /// same wish.
    pub async fn insisted(&mut self) -> Signal {
        insisted(async || self.next().await).await
    }

    /// Does `work` until it is done or a signal comes. For work that leaves nothing behind when it is dropped.
    pub async fn unless<T>(&mut self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            result = work => result,
            signal = self.next() => Err(Error::interrupted(signal)),
        }
    }
}

impl Arrivals {
    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => pending().await,
        }
    }
}

/// The signals that this process ignores, signal 1 in the lowest bit (proc(5), `SigIgn`); none where the system does not say.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

async fn insisted(mut next: impl AsyncFnMut() -> Signal) -> Signal {
    let end = Instant::now() + ONE_WISH;
    while timeout_at(end, next()).await.is_ok() {}
    next().await
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn signals_that_come_together_are_one_wish() {
        use Signal::{Hangup, Interrupt, Terminate};

        let (sender, mut receiver) = mpsc::unbounded_channel();
        let begin = Instant::now();
        tokio::spawn(async move {
            for (millis, signal) in [(0, Hangup), (1, Hangup), (900, Terminate), (7_500, Interrupt)] {
                sleep(Duration::from_millis(millis).saturating_sub(begin.elapsed())).await;
                sender.send(signal).unwrap();
            }
            std::future::pending::<()>().await;
        });
        let signal = insisted(async || receiver.recv().await.unwrap()).await;
        assert_eq!((signal, begin.elapsed().as_secs()), (Interrupt, 7));
    }
}
