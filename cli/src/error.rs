//! Errors as a user meets them: one sentence, perhaps a next step, and an exit code.

use std::fmt;

use crate::interrupt::Signal;

/// What kind of failure it was. Decides the exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The user, the cluster or the workspace is in the way.
    User,
    /// There is a workspace of that name already.
    NameTaken,
    /// The cluster gave no answer, or one that leaves it open what became of a request.
    Unreachable,
    /// The connection to a workspace broke, though the workspace may live on.
    Lost,
    /// The workspace has no such program.
    NoProgram,
    /// The command line cannot be understood.
    Usage,
    /// What answered is not the workspace that the cluster named.
    Impostor,
    /// The user ended the command.
    Interrupted(Signal),
    /// Whoever read the output has gone. Nothing is said about it.
    BrokenPipe,
    /// A bug in ws.
    Internal,
}

impl Kind {
    /// Exit code of the command.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::User | Self::NameTaken | Self::Unreachable | Self::Lost => 1,
            Self::Usage => 2,
            // as the shell reports it
            Self::NoProgram => 127,
            // EX_PROTOCOL of sysexits.h
            Self::Impostor => 76,
            Self::Interrupted(signal) => signal.exit_code(),
            // 128 + SIGPIPE, as the shell reports it
            Self::BrokenPipe => 141,
            Self::Internal => 255,
        }
    }
}

/// A failure, ready to be shown. Whatever a cluster or a pod contributed to the text is escaped where it is printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    pub kind: Kind,
    /// What happened, without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    pub fn name_taken(message: impl Into<String>) -> Self {
        Self::new(Kind::NameTaken, message)
    }

    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, message)
    }

    pub fn lost(why: &str) -> Self {
        Self::new(Kind::Lost, format!("the connection to the workspace was lost: {why}"))
    }

    pub fn no_program(message: impl Into<String>) -> Self {
        Self::new(Kind::NoProgram, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn impostor(message: impl Into<String>) -> Self {
        Self::new(Kind::Impostor, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message).hinted("this is a bug in ws; please report it")
    }

    pub fn interrupted(signal: Signal) -> Self {
        Self::new(Kind::Interrupted(signal), "interrupted")
    }

    pub fn broken_pipe() -> Self {
        Self::new(Kind::BrokenPipe, "nobody reads the output")
    }

    /// Says what to do.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what it means before what went wrong.
    #[must_use]
    pub fn meaning(mut self, meaning: &str) -> Self {
        self.message = format!("{meaning}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// An error and its causes, each once: many libraries repeat the cause in their own text.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_already_in_the_text_is_not_repeated() {
        let inner = std::io::Error::other("no such device");
        let outer = std::io::Error::other(inner);
        assert_eq!(chain(&outer), "no such device");
    }
}
