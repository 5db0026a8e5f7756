//! What a workspace is told when it does not get what it asked for.

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use crate::{decide::Denied, request::Malformed};

/// Header of every refusal, with its [`Reason`].
pub const DENIED_HEADER: &str = "x-ws-denied";

/// Why a request is not served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("unknown workspace: no running pod of a workspace has the address this request came from")]
    UnknownWorkspace,
    #[error("malformed request: {0}")]
    Malformed(#[from] Malformed),
    /// The head was not HTTP/1.x or longer than the limits.
    #[error("malformed request: not HTTP/1.1 within the limits of this gateway")]
    NotHttp,
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// A refusal's stable name, in headers, the audit log and metrics.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    UnknownWorkspace,
    Malformed,
    HostNotAllowed,
    IpLiteral,
}

impl Refusal {
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownWorkspace => Reason::UnknownWorkspace,
            Self::Malformed(_) | Self::NotHttp => Reason::Malformed,
            Self::Denied(Denied::HostNotAllowed { .. }) => Reason::HostNotAllowed,
            Self::Denied(Denied::IpLiteral { .. }) => Reason::IpLiteral,
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownWorkspace | Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Malformed(_) | Self::NotHttp => StatusCode::BAD_REQUEST,
        }
    }
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownWorkspace => "unknown-workspace",
            Self::Malformed => "malformed",
            Self::HostNotAllowed => "host-not-allowed",
            Self::IpLiteral => "ip-literal",
        }
    }
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.as_str().encode(encoder)
    }
}
