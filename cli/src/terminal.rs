//! The user's terminal: raw while a session has it, as it was afterwards, whatever happens.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use rustix::termios::{self, OptionalActions, Termios};

/// What the terminal was before it was made raw, for whoever comes first to restore it: the guard or the panic hook.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Takes back what a program in the workspace may have left on: hidden cursor, colours, mouse reports, bracketed paste,
/// application keys. Harmless where nothing was.
const RESET: &[u8] = b"\x1b[?25h\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>";

/// Columns and rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// The raw mode. Ends when dropped, and on a panic.
pub struct Raw(());

/// Whether a session here should have a terminal of its own: only if somebody types and reads at one.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The size of the terminal; the traditional one if it does not say.
pub fn size() -> Size {
    match termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size { columns: size.ws_col, rows: size.ws_row },
        _ => Size { columns: 80, rows: 24 },
    }
}

/// Makes the terminal raw: every key goes to the session, Ctrl-C too.
pub fn raw() -> io::Result<Raw> {
    let before = termios::tcgetattr(io::stdin())?;
    let mut raw = before.clone();
    raw.make_raw();
    *lock() = Some(before);
    termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
    Ok(Raw(()))
}

/// Whether the terminal is raw now, and a line needs its own beginning and return.
pub fn is_raw() -> bool {
    lock().is_some()
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal before a panic is printed, so that the text can be read.
pub fn restore_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        print(panic);
    }));
}

fn restore() {
    if let Some(before) = lock().take() {
        let mut out = io::stdout().lock();
        drop(out.write_all(RESET).and_then(|()| out.flush()));
        // Without a terminal there is nothing to restore.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}
