//! Why requests are denied.

use ws_api::{egress::Scheme, names::ClassName};

use crate::{class::Rule, host::Host, json::Offence, path::Path, preset::PLACEHOLDER, request::Request};

/// Why a request is denied. A rule that was nearer to allowing it counts more than another.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    #[error("{host} denied: it is an IP address, and egress rules name hosts")]
    IpLiteral { host: Host },
    #[error("{host} denied: no egress rule of class \"{class}\" names it")]
    HostNotAllowed { host: Host, class: ClassName },
    #[error("{host} denied: rule \"{rule}\" of the class names it, and this workspace left the rule out")]
    RuleNotPicked { host: Host, rule: String },
    #[error("{host} denied: rule \"{rule}\" does not name port {port}")]
    PortNotAllowed { host: Host, port: u16, rule: String },
    #[error("{host} denied: rule \"{rule}\" is for {}", match expected { Scheme::Https => "https", Scheme::Http => "plain http" })]
    SchemeNotAllowed { host: Host, rule: String, expected: Scheme },
    #[error("{host} denied: rule \"{rule}\" allows no request like {method} {path}")]
    RequestNotAllowed { host: Host, rule: String, method: http::Method, path: Path },
    #[error("{host} denied: rule \"{rule}\" allows {} at {path}", if *is_asked { "no WebSocket" } else { "nothing but a WebSocket" })]
    WebSocket { host: Host, rule: String, path: Path, is_asked: bool },
    #[error("{host} denied: rule \"{rule}\" does not name package \"{package}\"")]
    PackageNotAllowed { host: Host, rule: String, package: String },
    /// It may be fetched, but more stands in the path than registries need. Of a path that tells no package, that is empty.
    #[error("{host} denied by rule \"{rule}\": the {{{placeholder}}} in this path does not belong to {}", match package.as_str() { "" => "a registry".to_owned(), package => format!("package {package}") })]
    PackagePath { host: Host, rule: String, package: String, placeholder: String },
    #[error(
        "{host} denied by rule \"{rule}\": a placeholder (`{PLACEHOLDER}:…`) stands in the URL, and credentials are put in elsewhere; send it as the provider's own programs do"
    )]
    Placeholder { host: Host, rule: String },
    #[error("{host} denied: rule \"{rule}\" allows no query with `{parameter}` here")]
    QueryNotAllowed { host: Host, rule: String, parameter: String },
    #[error("{host} denied: rule \"{rule}\" allows {} here", match max { 0 => "no body".to_owned(), max => format!("a body of {max} bytes at most") })]
    BodyTooLong { host: Host, rule: String, max: u64 },
    #[error("denied by rule \"{rule}\": {offence}")]
    Body { rule: String, offence: Offence },
}

impl Denied {
    /// How near the request was to being allowed.
    fn nearness(&self) -> u8 {
        match self {
            Self::IpLiteral { .. } | Self::HostNotAllowed { .. } => 0,
            Self::RuleNotPicked { .. } => 1,
            Self::PortNotAllowed { .. } => 2,
            Self::SchemeNotAllowed { .. } => 3,
            Self::RequestNotAllowed { .. } => 4,
            Self::WebSocket { .. } => 5,
            Self::PackageNotAllowed { .. } => 6,
            Self::PackagePath { .. } => 7,
            Self::Placeholder { .. } => 8,
            Self::QueryNotAllowed { .. } => 9,
            Self::BodyTooLong { .. } => 10,
            Self::Body { .. } => 11,
        }
    }
}

/// The one that was nearer to being allowed.
pub(super) fn nearer(one: Option<Denied>, other: Denied) -> Denied {
    match one {
        Some(one) if one.nearness() >= other.nearness() => one,
        _ => other,
    }
}

pub(super) fn wrong_port(rule: &Rule, host: &Host, port: u16) -> Denied {
    Denied::PortNotAllowed { host: host.clone(), port, rule: rule.name.clone() }
}

pub(super) fn wrong_scheme(rule: &Rule, host: &Host) -> Denied {
    Denied::SchemeNotAllowed { host: host.clone(), rule: rule.name.clone(), expected: rule.scheme }
}

pub(super) fn unlike(rule: &Rule, request: &Request) -> Denied {
    Denied::RequestNotAllowed {
        host: request.host.clone(),
        rule: rule.name.clone(),
        method: request.method.clone(),
        path: request.path.clone(),
    }
}

pub(super) fn too_long(rule: &Rule, host: &Host, max: u64) -> Denied {
    Denied::BodyTooLong { host: host.clone(), rule: rule.name.clone(), max }
}
