//! The user's terminal: raw while a session has it, as it was afterwards, whatever happens.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use rustix::termios::{self, OptionalActions, Termios};

/// What the terminal was before it was made raw, for whoever comes first to restore it: the guard or the panic hook.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Takes back what a program in the workspace may have left on. Harmless where nothing was: some terminals move the cursor to where
/// an alternate screen began even if none is on, so it is saved before and put back. What follows is each screen's own, or the last to
/// count.
const RESET: &str = concat!(
    // The alternate screen.
    "\x1b7\x1b[?1049l\x1b8",
    // Keyboard protocols: kitty's, and xterm's.
    "\x1b[<u\x1b[>4;0m",
    // A hidden cursor, colours.
    "\x1b[?25h\x1b[0m",
    // Reports of the mouse and of the focus, bracketed paste.
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l",
    // Application keys.
    "\x1b[?1l\x1b>",
);

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
        drop(out.write_all(RESET.as_bytes()).and_then(|()| out.flush()));
        // Without a terminal there is nothing to restore.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_program_left_on_is_taken_back() {
        for (what, off) in [
            ("the alternate screen", "\x1b[?1049l"),
            ("kitty's keyboard protocol", "\x1b[<u"),
            ("xterm's modified keys", "\x1b[>4;0m"),
            ("a hidden cursor", "\x1b[?25h"),
            ("colours", "\x1b[0m"),
            ("clicks", "\x1b[?1000l"),
            ("drags", "\x1b[?1002l"),
            ("motion", "\x1b[?1003l"),
            ("long reports of the mouse", "\x1b[?1006l"),
            ("reports of the focus", "\x1b[?1004l"),
            ("bracketed paste", "\x1b[?2004l"),
            ("application cursor keys", "\x1b[?1l"),
            ("application keypad", "\x1b>"),
        ] {
            assert_eq!(RESET.matches(off).count(), 1, "{what}");
        }
        // Each screen has its own keyboard protocol, and the cursor comes back with its colours.
        assert!(RESET.starts_with("\x1b7\x1b[?1049l\x1b8"));
    }
}
