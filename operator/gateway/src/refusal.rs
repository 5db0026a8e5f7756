//! What a workspace is told when it does not get what it asked for.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use ws_api::reason::Reason;
use ws_policy::{decide::Denied, host::Host, request::Malformed};

use crate::{
    body::{Body, whole},
    policies::NoPolicy,
    request::Misfit,
};

/// Header of every refusal, with its [`Reason`].
pub const DENIED_HEADER: &str = "x-ws-denied";

/// Why a request is not served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("unknown workspace: no running pod of a workspace has the address this request came from")]
    UnknownWorkspace,
    #[error(
        "denied: this connection did not come through the workspace's agent; programs find it at $HTTPS_PROXY"
    )]
    NotTheAgent,
    #[error("malformed request: {0}")]
    Malformed(#[from] Malformed),
    /// The head was not HTTP/1.x or longer than the limits.
    #[error("malformed request: not HTTP/1.1 within the limits of this gateway")]
    NotHttp,
    #[error("misdirected request: it names another host than the connection it came on")]
    Misdirected,
    #[error("{0} denied: the connection begins with neither TLS for this name nor HTTP")]
    NotTls(Host),
    #[error("denied: {0}")]
    NoPolicy(#[from] NoPolicy),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("denied: rules inspect this body, so send it without Content-Encoding")]
    Encoded,
    #[error("the body did not arrive in time")]
    Slow,
    #[error("the gateway has no room for a body of this size now; try again")]
    Full,
    #[error("this workspace has as many requests under way as it may; try again when some are answered")]
    Busy,
    #[error("denied: rule \"{rule}\" allows {max} bytes in a request")]
    RequestTooLong { rule: String, max: u64 },
    #[error("denied: the {max} bytes that a workspace may send by rule \"{rule}\" are spent")]
    Spent { rule: String, max: u64 },
    #[error("the gateway cannot learn what is left of the budget of rule \"{0}\" now; try again")]
    BudgetUnknown(String),
    #[error("{0} denied: the policy changed and does not allow it any more")]
    Revoked(Host),
    #[error("{0} denied: it has no address outside of this cluster and the networks around it")]
    SpecialAddress(Host),
    #[error("{host} cannot be reached: {problem}")]
    Unreachable { host: Host, problem: String },
    #[error(
        "the credential of rule \"{rule}\" cannot be read; ask your admin to look at Secret \"{secret}\""
    )]
    NoCredential { rule: String, secret: String },
    #[error("denied: rule \"{rule}\" allows only versions at least {} old; this one is from {since}", span(*minimum))]
    TooNew { rule: String, since: String, minimum: Duration },
    #[error("denied: rule \"{rule}\" sets a minimum age, but the registry sends no Last-Modified")]
    NoAge { rule: String },
    #[error("denied: rule \"{rule}\" allows {max} requests that find nothing, and they are used up")]
    NotFoundSpent { rule: String, max: u64 },
    #[error("the host agreed to a WebSocket and did not open one")]
    NoWebSocket,
    #[error("the answer held the credential of rule \"{0}\", so it is not passed on")]
    Reflected(String),
    #[error("the body broke off before its end")]
    BrokenOff,
    #[error("the gateway failed; its log says how")]
    Internal,
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Malformed(malformed) => Self::Malformed(malformed),
            Misfit::Misdirected => Self::Misdirected,
        }
    }
}

impl Refusal {
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownWorkspace => Reason::UnknownWorkspace,
            Self::NotTheAgent => Reason::NotTheAgent,
            Self::Malformed(_) | Self::NotHttp => Reason::Malformed,
            Self::Misdirected => Reason::Misdirected,
            Self::NotTls(_) => Reason::NotTls,
            Self::NoPolicy(_) => Reason::NoPolicy,
            Self::Denied(denied) => match denied {
                Denied::IpLiteral { .. } => Reason::IpLiteral,
                Denied::HostNotAllowed { .. } => Reason::HostNotAllowed,
                Denied::RuleNotPicked { .. } => Reason::RuleNotPicked,
                Denied::PortNotAllowed { .. } => Reason::PortNotAllowed,
                Denied::SchemeNotAllowed { .. } => Reason::SchemeNotAllowed,
                Denied::RequestNotAllowed { .. } => Reason::RequestNotAllowed,
                Denied::WebSocket { .. } => Reason::WebSocket,
                Denied::PackageNotAllowed { .. } | Denied::PackagePath { .. } => Reason::PackageNotAllowed,
                Denied::Placeholder { .. } => Reason::MisplacedPlaceholder,
                Denied::QueryNotAllowed { .. } => Reason::QueryNotAllowed,
                Denied::BodyTooLong { .. } => Reason::BodyTooLong,
                Denied::Body { .. } => Reason::BodyRule,
            },
            Self::Encoded => Reason::EncodedBody,
            Self::Slow => Reason::SlowBody,
            Self::Full | Self::Busy | Self::BudgetUnknown(_) => Reason::Overloaded,
            Self::RequestTooLong { .. } | Self::Spent { .. } => Reason::OverBudget,
            Self::Revoked(_) => Reason::Revoked,
            Self::SpecialAddress(_) => Reason::SpecialAddress,
            Self::Unreachable { .. } | Self::NoWebSocket => Reason::Unreachable,
            Self::NoCredential { .. } => Reason::NoCredential,
            Self::Reflected(_) => Reason::CredentialReflected,
            Self::TooNew { .. } | Self::NoAge { .. } => Reason::TooNew,
            Self::NotFoundSpent { .. } => Reason::NotFoundBudget,
            Self::BrokenOff => Reason::BrokenOff,
            Self::Internal => Reason::Internal,
        }
    }

    /// One line for people, and the reason for programs.
    pub fn response(&self) -> Response<Body> {
        let mut response = text(self.status(), self);
        response.headers_mut().insert(DENIED_HEADER, HeaderValue::from_static(self.reason().as_str()));
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::NotHttp | Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Denied(Denied::BodyTooLong { .. }) | Self::RequestTooLong { .. } | Self::Spent { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Full | Self::BudgetUnknown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable { .. } | Self::NoWebSocket | Self::NoCredential { .. } | Self::Reflected(_) => {
                StatusCode::BAD_GATEWAY
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownWorkspace
            | Self::NotTheAgent
            | Self::NotTls(_)
            | Self::NoPolicy(_)
            | Self::Denied(_)
            | Self::Revoked(_)
            | Self::SpecialAddress(_)
            | Self::TooNew { .. }
            | Self::NoAge { .. }
            | Self::NotFoundSpent { .. } => StatusCode::FORBIDDEN,
        }
    }
}

/// An answer of the gateway's own: one line for people.
pub fn text(status: StatusCode, line: &impl std::fmt::Display) -> Response<Body> {
    let mut response = Response::new(whole(format!("ws: {line}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A time as rules write it: `24h`.
fn span(time: Duration) -> kube::core::Duration {
    time.into()
}
