//! What a person sees while a command works: one line a step on stderr. Results go to stdout.

use std::io::{self, Write as _};
use std::time::Instant;

/// Prints progress lines that begin with the seconds since it was made.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    began: Instant,
}

impl Progress {
    /// Starts the clock.
    pub fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// Reports a step that is done, or that will take a while.
    pub fn note(&self, text: &str) {
        // A closed stderr must not stop the work.
        drop(writeln!(io::stderr(), "{:7.2}s  {text}", self.began.elapsed().as_secs_f64()));
    }
}

/// Prints one line of a command's result.
pub fn answer(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
