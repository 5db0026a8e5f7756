//! The bytes of a transfer.
//!
//! A stream is eight bytes in the clear (`wstree`, version, kind) and then zstd frames (RFC 8878). Frames end anywhere;
//! what they hold together is a sequence of records:
//!
//! ```text
//! record   := tag path [base] body           tag bit 7: a base follows
//! body     := Directory | Symlink target | Removed | Special kind
//!           | File executable seconds nanoseconds size content digest altered
//! end      := tag count digest               the last record
//! ```
//!
//! Numbers are LEB128 in their shortest form, bytes carry their length in front. A stream that ends before its end
//! record is an error, whatever it held.

pub(crate) mod primitive;
mod record;
mod stream;

use std::io;

use crate::digest::Digest;
use crate::path::PathError;

pub(crate) use record::{Body, End, FileHeader, FileTrailer, Located, Record};
pub(crate) use stream::{FrameEncoder, RecordReader};

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// A project, from the laptop to the pod.
    Project,
    /// What changed in it, from the pod to the laptop.
    Changes,
}

impl StreamKind {
    const VERSION: u8 = 1;

    /// The eight bytes a stream starts with.
    pub(crate) fn magic(self) -> [u8; 8] {
        let kind = match self {
            Self::Project => b'p',
            Self::Changes => b'c',
        };
        [b'w', b's', b't', b'r', b'e', b'e', Self::VERSION, kind]
    }
}

/// Why bytes are not a stream, a manifest or a receipt.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the stream ended early")]
    Truncated,
    #[error("the other side speaks another version of the transfer protocol, or none")]
    Version,
    #[error("malformed stream: {0}")]
    Malformed(&'static str),
    #[error("malformed stream: {0}")]
    Path(#[from] PathError),
    #[error("{expected} was announced, {found} arrived")]
    Digest { expected: Digest, found: Digest },
    #[error("the stream could not be read")]
    Io(#[source] io::Error),
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(error) }
    }
}
