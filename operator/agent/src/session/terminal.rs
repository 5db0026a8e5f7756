//! The master end of a pseudo-terminal, for asynchronous code.

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    process::{Child, Command},
    sync::Arc,
    task::{Context, Poll, ready},
};

use pty_process::blocking;
use russh::Pty;
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd};

use super::modes;

/// Size in characters and pixels (RFC 4254 §6.2); what exceeds 65,535 is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    pub columns: u32,
    pub rows: u32,
    pub width: u32,
    pub height: u32,
}

/// What a client asks of its terminal.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub size: Size,
    pub modes: Vec<(Pty, u32)>,
}

/// A terminal that a program runs on. When the last handle is dropped, the program's session is hung up by the kernel.
#[derive(Clone, Debug)]
pub struct Terminal(Arc<AsyncFd<OwnedFd>>);

/// What [`open`] hands to the program.
pub struct Line(blocking::Pts);

/// Opens a terminal.
pub fn open(wanted: &Wanted) -> io::Result<(Terminal, Line)> {
    let (master, line) = blocking::open().map_err(io::Error::other)?;
    let master = OwnedFd::from(master);
    let mut termios = tcgetattr(&master)?;
    modes::apply(&wanted.modes, &mut termios);
    tcsetattr(&master, OptionalActions::Now, &termios)?;
    fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
    let terminal = Terminal(Arc::new(register(master)?));
    terminal.resize(wanted.size)?;
    Ok((terminal, Line(line)))
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because of types whose descriptor can change; an OwnedFd's cannot"
)]
fn register(master: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(master)
}

impl Line {
    /// Starts `command` as the leader of a session that has this terminal.
    pub fn spawn(self, command: Command) -> io::Result<Child> {
        blocking::Command::from(command).spawn(self.0).map_err(|error| match error {
            pty_process::Error::Io(error) => error,
            pty_process::Error::Rustix(errno) => errno.into(),
        })
    }
}

impl Terminal {
    /// Changes the size, of which the kernel tells the program.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        let cut = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let size = Winsize {
            ws_row: cut(size.rows),
            ws_col: cut(size.columns),
            ws_xpixel: cut(size.width),
            ws_ypixel: cut(size.height),
        };
        Ok(tcsetwinsize(&*self.0, size)?)
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, buffer.initialize_unfilled())?));
            match read {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // Linux' way to say that no program has the terminal open any more.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => (),
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|fd| Ok(rustix::io::write(fd, data)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
