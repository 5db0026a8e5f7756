//! Starts a program, connects it to a channel and sees it to its end.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::{pipe::fcntl_setpipe_size, process::Signal};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    net::unix::pipe,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use ws_ssh::Inbox;

use super::{
    outlet::{Outlet, Stream},
    terminal::{self, Line, Size, Terminal, Wanted},
};
use crate::reaper::{Ended, Exit, Process, Reaper};

/// What Linux lets an ordinary user have; 64 KiB, its default, costs a third of the throughput.
const PIPE: usize = 1 << 20;
/// How long a program, and what it started, has to end when its channel was closed; and how often that is looked at.
const GRACE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(20));
/// Ends a line's input where it is read line by line; an editor takes it as control-D.
const END_OF_TRANSMISSION: &[u8] = &[4];

/// A program that runs.
pub struct Program {
    process: Arc<Process>,
    ended: Ended,
    ends: Ends,
}

/// What a client may do to a running program.
pub struct Control {
    process: Arc<Process>,
    terminal: Option<Terminal>,
}

/// Our ends of a program's input and output.
enum Ends {
    Terminal(Terminal),
    Pipes { input: pipe::Sender, output: pipe::Receiver, error: pipe::Receiver },
}

impl Program {
    /// Starts `command`, on a terminal if one is wanted.
    pub fn start(reaper: &Arc<Reaper>, command: Command, wanted: Option<&Wanted>) -> io::Result<Self> {
        let (process, ended, ends) = match wanted {
            Some(wanted) => on_terminal(reaper, command, terminal::open(wanted)?)?,
            None => on_pipes(reaper, command)?,
        };
        Ok(Self { process: Arc::new(process), ended, ends })
    }

    pub fn control(&self) -> Control {
        let terminal = match &self.ends {
            Ends::Terminal(terminal) => Some(terminal.clone()),
            Ends::Pipes { .. } => None,
        };
        Control { process: Arc::clone(&self.process), terminal }
    }

    /// Connects the program to its channel until it has ended, or the channel: then the program is ended.
    pub async fn run(self, inbox: Inbox, outlet: Outlet, closed: CancellationToken) {
        let Self { process, mut ended, ends } = self;
        let served = async {
            let exit = serve(ends, &mut ended, inbox, &outlet).await;
            outlet.finish(exit).await;
        };
        tokio::select! {
            () = closed.cancelled() => (),
            () = served => return,
        }
        process.signal(Signal::HUP);
        // A shell ends at once, while what runs in it still saves its work.
        let gone = async {
            while process.is_left() {
                sleep(GRACE.1).await;
            }
        };
        timeout(GRACE.0, gone).await.ok();
        process.signal(Signal::KILL);
    }
}

impl Control {
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub fn resize(&self, size: Size) -> io::Result<()> {
        self.terminal.as_ref().map_or(Ok(()), |terminal| terminal.resize(size))
    }
}

fn on_terminal(
    reaper: &Arc<Reaper>,
    command: Command,
    (terminal, line): (Terminal, Line),
) -> io::Result<(Process, Ended, Ends)> {
    let (_, process, ended) = reaper.spawn(|| line.spawn(command))?;
    Ok((process, ended, Ends::Terminal(terminal)))
}

fn on_pipes(reaper: &Arc<Reaper>, mut command: Command) -> io::Result<(Process, Ended, Ends)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let (child, process, ended) = reaper.spawn(|| command.spawn())?;
    let Child { stdin: Some(input), stdout: Some(output), stderr: Some(error), .. } = child else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let ends = Ends::Pipes {
        input: pipe::Sender::from_owned_fd(widened(input.into()))?,
        output: pipe::Receiver::from_owned_fd(widened(output.into()))?,
        error: pipe::Receiver::from_owned_fd(error.into())?,
    };
    Ok((process, ended, ends))
}

/// Widens a pipe. A user who has many pipes is refused, and the pipe works as it is.
fn widened(pipe: OwnedFd) -> OwnedFd {
    fcntl_setpipe_size(&pipe, PIPE).ok();
    pipe
}

/// Copies both ways until the program has ended and its output too: what it left in the background may still write.
async fn serve(ends: Ends, ended: &mut Ended, inbox: Inbox, outlet: &Outlet) -> Exit {
    let copied = async {
        match ends {
            Ends::Terminal(terminal) => {
                let input = feed(inbox, terminal.clone(), END_OF_TRANSMISSION);
                beside(input, outlet.pump(Stream::Output, terminal)).await
            }
            Ends::Pipes { input, output, error } => {
                let output = outlet.pump(Stream::Output, output);
                let error = outlet.pump(Stream::Error, error);
                beside(feed(inbox, input, &[]), async { tokio::try_join!(output, error).map(drop) }).await
            }
        }
    };
    let (exit, copied) = tokio::join!(ended, copied);
    if let Err(error) = copied {
        tracing::debug!(%error, "a session's output is lost");
    }
    exit.unwrap_or(Exit::Code(255))
}

/// Runs `input` beside `output`, for as long as that takes.
async fn beside<T>(input: impl Future<Output = ()>, output: impl Future<Output = T>) -> T {
    tokio::pin!(output);
    tokio::select! {
        biased;
        done = &mut output => done,
        () = input => output.await,
    }
}

/// Writes what arrives to the program, then `end`. A program that does not want its input is not made to read it.
async fn feed(mut inbox: Inbox, mut input: impl AsyncWrite + Unpin, end: &[u8]) {
    loop {
        let data = match inbox.next().await {
            Ok(Some(data)) => data,
            Ok(None) => break,
            Err(error) => return tracing::warn!(%error, "a session's input is lost"),
        };
        if input.write_all(&data).await.is_err() {
            return;
        }
    }
    input.write_all(end).await.ok();
}
