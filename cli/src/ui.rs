//! The only place that prints.
//!
//! Standard output carries results, standard error everything else. What came from a cluster or a pod is escaped here, so
//! that no caller has to remember to.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use ws_tree::Escaped;

use crate::{
    error::{Error, Kind},
    terminal,
};

mod json;

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verbosity {
    /// Errors and warnings.
    Quiet,
    Normal,
    /// Also how long things took.
    Verbose,
}

/// The terminal, or whatever stands in its place.
pub struct Ui {
    verbosity: Verbosity,
    json: bool,
    color: bool,
    spinner: bool,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    bar: Option<ProgressBar>,
    last: String,
}

#[derive(Serialize)]
struct ErrorReport<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    exit_code: u8,
}

impl Ui {
    /// For this process: colours and a moving progress line only on a terminal, no colours with `NO_COLOR`.
    pub fn new(verbosity: Verbosity, json: bool) -> Self {
        let terminal =
            io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            verbosity,
            json,
            color: terminal && !no_color,
            spinner: terminal && verbosity == Verbosity::Normal && !json,
            progress: Mutex::default(),
        }
    }

    /// Whether results are to be printed as JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// What is being done now. On a terminal it replaces what was said before; elsewhere each new text is a line.
    pub fn progress(&self, text: &str) {
        if self.verbosity == Verbosity::Quiet || self.json {
            return;
        }
        let text = escape(text);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.last == text {
            return;
        }
        progress.last.clone_from(&text);
        if self.spinner {
            progress.bar.get_or_insert_with(spinner).set_message(text);
        } else {
            line(&text);
        }
    }

    /// Like [`Ui::progress`], for counts that change all the time: only where the line can be replaced.
    pub fn tick(&self, text: &str) {
        if self.spinner {
            self.progress(text);
        }
    }

    /// Takes the progress line away.
    pub fn clear(&self) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.last.clear();
        if let Some(bar) = progress.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Something worth knowing that is done.
    pub fn note(&self, text: &str) {
        if self.verbosity > Verbosity::Quiet && !self.json {
            self.clear();
            line(&escape(text));
        }
    }

    /// How something was done, for those who asked.
    pub fn detail(&self, text: &str) {
        if self.verbosity == Verbosity::Verbose && !self.json {
            line(&self.painted("2", &escape(text)));
        }
    }

    /// Something the user should act on, though the command goes on.
    pub fn warn(&self, text: &str) {
        self.clear();
        line(&format!("{} {}", self.painted("1;33", "warning:"), escape(text)));
    }

    /// A failure that does not decide how the command ends.
    pub fn trouble(&self, error: &Error) {
        self.warn(&error.message);
        if let Some(hint) = &error.hint {
            self.hint(hint);
        }
    }

    /// The end of the command.
    pub fn error(&self, error: &Error) {
        self.clear();
        if error.kind == Kind::BrokenPipe {
            return;
        }
        if self.json {
            line(&json::document(&ErrorReport {
                error: ErrorBody {
                    message: &error.message,
                    hint: error.hint.as_deref(),
                    exit_code: error.kind.exit_code(),
                },
            }));
            return;
        }
        line(&format!("{} {}", self.painted("1;31", "error:"), escape(&error.message)));
        if let Some(hint) = &error.hint {
            self.hint(hint);
        }
    }

    fn hint(&self, text: &str) {
        line(&format!("{} {}", self.painted("1;36", "hint:"), escape(text)));
    }

    /// A result: several lines, each escaped.
    pub fn result(&self, text: &str) -> Result<(), Error> {
        self.clear();
        let mut escaped = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            escaped.push_str(&escape(line));
            escaped.push('\n');
        }
        write_out(escaped.as_bytes())
    }

    /// A result that is bytes of its own making and already safe: completions, a patch to a file.
    pub fn raw_result(&self, bytes: &[u8]) -> Result<(), Error> {
        self.clear();
        write_out(bytes)
    }

    /// A long result, line by line, each escaped.
    pub fn lines(
        &self,
        fill: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.clear();
        let mut out = BufWriter::new(io::stdout().lock());
        fill(&mut |line| writeln!(out, "{}", escape(line)).map_err(|error| unwritable(&error)))?;
        out.flush().map_err(|error| unwritable(&error))
    }

    /// Like [`Ui::raw_result`], for bytes that are too many to be kept.
    pub fn raw_stream(
        &self,
        fill: impl FnOnce(&mut dyn io::Write) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.clear();
        let mut out = Output { out: BufWriter::new(io::stdout().lock()), error: None };
        let filled = fill(&mut out).and_then(|()| out.flush().map_err(|error| unwritable(&error)));
        // Whoever fills it may take this error for one of their own.
        out.error.map_or(filled, |error| Err(unwritable(&error)))
    }

    /// A result as one JSON document on one line.
    pub fn json_result(&self, value: &impl Serialize) -> Result<(), Error> {
        self.clear();
        write_out(format!("{}\n", json::document(value)).as_bytes())
    }

    /// A report of `--json` where standard output belongs to the session.
    pub fn json_report(&self, value: &impl Serialize) {
        self.clear();
        line(&json::document(value));
    }

    /// Whether results are read by a person at a terminal, which obeys what it is sent.
    pub fn writes_to_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Asks for a yes. Only to be called where [`Ui::can_ask`].
    pub fn confirm(&self, question: &str) -> bool {
        self.clear();
        let mut answer = String::new();
        let mut out = io::stderr().lock();
        let asked = write!(out, "{} [y/N] ", escape(question)).and_then(|()| out.flush());
        asked.is_ok()
            && io::stdin().read_line(&mut answer).is_ok()
            && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }

    /// Whether somebody is there to answer.
    pub fn can_ask() -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn escape(text: &str) -> String {
    Escaped::line(text.as_bytes()).to_string()
}

/// Nobody can be told that standard error is gone, so that is not an error.
fn line(text: &str) {
    // A program in the workspace may have left the cursor anywhere.
    let (before, after) = if terminal::is_raw() { ("\r\n", "\r\n") } else { ("", "\n") };
    drop(write!(io::stderr().lock(), "{before}{text}{after}"));
}

fn write_out(bytes: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| unwritable(&error))
}

fn unwritable(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::broken_pipe(),
        _ => Error::user(format!("the output cannot be written: {error}")),
    }
}

/// Standard output that keeps its first error.
struct Output<W> {
    out: W,
    error: Option<io::Error>,
}

impl<W: io::Write> io::Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.error.get_or_insert(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
