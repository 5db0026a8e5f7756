//! One command or shell in a workspace, with this process's standard streams.

mod input;
mod quote;

use std::{ffi::OsString, io, pin::pin, time::Duration};

use russh::{Channel, ChannelMsg, Sig, client::Msg};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{
    agents::Agent,
    error::{Error, Kind, chain},
    interrupt::{Interrupts, Signal},
    ssh::Connection,
    terminal::{self, Size},
};

pub use quote::{command_line, quote};

/// Exit code of a command whose reader has gone: 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;
/// How long an interrupted program may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Clone, Debug)]
pub enum Program {
    /// The user's login shell.
    Shell,
    /// A line for the shell.
    Line(Vec<u8>),
    /// A coding agent, prepared.
    Agent(Agent),
}

impl Program {
    /// A command of the command line; without words it is a shell.
    pub fn from_words(words: &[OsString]) -> Self {
        if words.is_empty() { Self::Shell } else { Self::Line(command_line(words)) }
    }
}

/// A program that runs in a workspace.
pub struct Session {
    channel: Channel<Msg>,
    connection_gate: ws_ssh::Gate,
    raw: Option<terminal::Raw>,
}

impl Session {
    /// Starts the program: with a terminal if this process has one on both ends, else with three separate streams.
    pub async fn start(connection: &Connection, program: &Program) -> Result<Self, Error> {
        let channel = connection.session().await?;
        let interactive = terminal::is_interactive();
        begin(&channel, program, interactive).await.map_err(|error| Error::lost(&chain(&error)))?;
        let raw = if interactive { Some(terminal::raw().map_err(|error| unusable(&error))?) } else { None };
        Ok(Self { channel, connection_gate: connection.gate(), raw })
    }

    /// Carries the streams until the program has ended; returns its exit code. A signal to this process goes to the
    /// program, which then has a moment to end.
    pub async fn run(self, interrupts: &mut Interrupts) -> Result<u8, Error> {
        let Self { channel, connection_gate, raw } = self;
        let (mut reader, writer) = channel.split();
        let resizes = raw.is_some();
        let mut output = pin!(output(&mut reader));
        let result = tokio::select! {
            result = &mut output => result,
            // These end only with an error: the end of the input does not end the program.
            error = input::carry(&writer, &connection_gate) => Err(error),
            error = follow_size(&writer), if resizes => Err(error),
            signal = interrupts.next() => {
                // Whether it is heard or not, the session is over.
                drop(writer.signal(signal_name(signal)).await);
                drop(timeout(GRACE, output).await);
                Err(Error::interrupted(signal))
            }
        };
        // The program may have gone already; closing tells it that nobody listens any more.
        drop(writer.close().await);
        drop(raw);
        match result {
            Ok(code) => Ok(code),
            Err(Error { kind: Kind::BrokenPipe, .. }) => Ok(BROKEN_PIPE),
            Err(error) => Err(error),
        }
    }
}

/// The signal that an interrupted program gets, by its name in RFC 4254 §6.10.
fn signal_name(signal: Signal) -> Sig {
    match signal {
        Signal::Interrupt => Sig::INT,
        Signal::Terminate => Sig::TERM,
        Signal::Hangup => Sig::HUP,
    }
}

async fn begin(channel: &Channel<Msg>, program: &Program, interactive: bool) -> Result<(), russh::Error> {
    for (variable, value) in std::env::vars_os() {
        if let (Some(variable), Some(value)) = (variable.to_str(), value.to_str())
            && ws_api::ssh::may_set(variable)
        {
            channel.set_env(false, variable, value).await?;
        }
    }
    if interactive {
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned());
        let Size { columns, rows } = terminal::size();
        channel.request_pty(false, &term, columns.into(), rows.into(), 0, 0, &[]).await?;
    }
    match program {
        Program::Shell => channel.request_shell(true).await,
        Program::Line(line) => channel.exec(true, line.as_slice()).await,
        Program::Agent(agent) => channel.exec(true, agent.line()).await,
    }
}

/// Writes what the program writes until its channel closes.
async fn output(reader: &mut russh::ChannelReadHalf) -> Result<u8, Error> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut code = None;
    while let Some(message) = reader.wait().await {
        match message {
            ChannelMsg::Data { data } => write(&mut stdout, &data).await?,
            ChannelMsg::ExtendedData { data, ext: 1 } => write(&mut stderr, &data).await?,
            ChannelMsg::ExitStatus { exit_status } => code = Some(exit_code(exit_status)),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                code = Some(128_u8.saturating_add(number(&signal_name)));
            }
            ChannelMsg::Failure => return Err(Error::user("the workspace could not start the program")),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    code.ok_or_else(|| Error::lost("it ended before the program did"))
}

async fn write(out: &mut (impl AsyncWrite + Unpin), data: &[u8]) -> Result<(), Error> {
    let written = async {
        out.write_all(data).await?;
        out.flush().await
    };
    written.await.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Error::broken_pipe(),
        _ => Error::user(format!("the output cannot be written: {error}")),
    })
}

/// Tells the program each new size of the terminal; never ends unless the connection does.
async fn follow_size(writer: &russh::ChannelWriteHalf<Msg>) -> Error {
    let mut changes = match signal(SignalKind::window_change()) {
        Ok(changes) => changes,
        Err(error) => return unusable(&error),
    };
    while changes.recv().await.is_some() {
        let Size { columns, rows } = terminal::size();
        if writer.window_change(columns.into(), rows.into(), 0, 0).await.is_err() {
            break;
        }
    }
    std::future::pending().await
}

/// A status beyond a byte cannot come from a program; it still must not become success.
fn exit_code(status: u32) -> u8 {
    u8::try_from(status).unwrap_or(u8::MAX)
}

/// The number of a signal on Linux; one that a program's end cannot have counts as none.
fn number(signal: &Sig) -> u8 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) => match name.as_str() {
            "TRAP" => 5,
            "BUS" => 7,
            "USR2" => 12,
            "XCPU" => 24,
            "XFSZ" => 25,
            "SYS" => 31,
            _ => 0,
        },
    }
}

fn unusable(error: &io::Error) -> Error {
    Error::user(format!("the terminal cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_status_is_never_success() {
        assert_eq!([0, 1, 255, 256, u32::MAX].map(exit_code), [0, 1, 255, 255, 255]);
    }
}
