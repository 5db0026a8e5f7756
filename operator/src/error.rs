//! What a reconcile cannot go on with. What is wrong with a workspace is no error: it is in its status.

use crate::user_ca::KeyError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the operator stops before it has seen what it needs")]
    Stopped,
    #[error("could not make the keys of the workspace")]
    Keys(#[from] KeyError),
    #[error("could not read {kind} `{name}`")]
    Read { kind: String, name: String, source: kube::Error },
    #[error("could not write {kind} `{name}`")]
    Write { kind: String, name: String, source: kube::Error },
    #[error("could not delete {kind} `{name}`")]
    Delete { kind: String, name: String, source: kube::Error },
    #[error("could not write the status")]
    Status(#[source] kube::Error),
}

impl Error {
    /// Stable label for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Stopped => "Stopped",
            Self::Keys(_) => "Keys",
            Self::Read { .. } => "Read",
            Self::Write { .. } => "Write",
            Self::Delete { .. } => "Delete",
            Self::Status(_) => "Status",
        }
    }

    /// Whether trying again without a change can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::Delete { .. } | Self::Status(_) => true,
            Self::Stopped | Self::Keys(_) => false,
        }
    }
}

impl Error {
    /// For a status: what the API server answered, or else everything that led to the error. Not escaped.
    pub fn answer(&self) -> String {
        match self {
            Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Delete { source, .. }
            | Self::Status(source) => match source {
                kube::Error::Api(status) => status.message.clone(),
                other => chain(other),
            },
            Self::Stopped | Self::Keys(_) => chain(self),
        }
    }
}

/// An error's text with everything that led to it.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
