//! A request as it is decided on: every part in its one canonical form.

use std::fmt;

use http::{Method, Uri};
use ws_api::egress::Scheme;

use crate::{
    host::{Host, InvalidHost},
    path::{InvalidTarget, Path, Query},
    preset::PLACEHOLDER,
};

/// The head of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub method: Method,
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
    pub path: Path,
    pub query: Query,
    pub body: Length,
    /// Whether it wants to open a WebSocket (RFC 6455 §4.1).
    pub opens_web_socket: bool,
}

/// Whom a request is for (RFC 6454, section 4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

/// What the head says of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    None,
    Bytes(u64),
    /// Its end comes with it.
    Unknown,
}

/// Why a request cannot be decided on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error(transparent)]
    Host(#[from] InvalidHost),
    #[error(transparent)]
    Target(#[from] InvalidTarget),
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the target's scheme is neither http nor https")]
    Scheme,
    #[error("the target is neither a URL, nor a path, nor the HOST:PORT of a CONNECT")]
    Form,
    #[error("the request names no host")]
    NoHost,
    #[error("the request has several Host headers")]
    SeveralHosts,
}

impl Request {
    /// A request for an absolute URL (RFC 9112, section 3.2.2).
    pub fn absolute(method: Method, url: &Uri, body: Length) -> Result<Self, Malformed> {
        let scheme = match url.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) => return Err(Malformed::Scheme),
            None => return Err(Malformed::Form),
        };
        let authority = url.authority().ok_or(Malformed::Form)?;
        let destination = authority_of(authority.as_str(), Some(default_port(scheme)))?;
        Self::at(destination, method, scheme, url, body)
    }

    /// A request to a host and a port; of the target, only path and query count.
    pub fn at(
        (host, port): (Host, u16),
        method: Method,
        scheme: Scheme,
        target: &Uri,
        body: Length,
    ) -> Result<Self, Malformed> {
        let path = Path::parse(target.path())?;
        let query = Query::parse(target.query().unwrap_or_default())?;
        Ok(Self { method, scheme, host, port, path, query, body, opens_web_socket: false })
    }

    /// Whether a placeholder for a credential stands in its path or its query, where nobody puts a credential in.
    pub fn shows_placeholder(&self) -> bool {
        let is_one = |after: &str| after.starts_with(':') || after.starts_with("%3A");
        let shows = |part: &str| part.split(PLACEHOLDER).skip(1).any(is_one);
        let in_query =
            |(name, value): &(String, Option<String>)| shows(name) || value.as_deref().is_some_and(shows);
        shows(self.path.as_str()) || self.query.pairs().iter().any(in_query)
    }

    /// Whom it is for.
    pub fn origin(&self) -> Origin {
        Origin { scheme: self.scheme, host: self.host.clone(), port: self.port }
    }

    /// The one URL of the request.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin(), self.target())
    }

    /// What it asks its host for, as it is sent.
    pub fn target(&self) -> String {
        let Self { path, query, .. } = self;
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{path}{mark}{query}")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        let name = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        if *port == default_port(*scheme) {
            write!(f, "{name}://{host}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

/// The port of a URL that names none (RFC 9110, sections 4.2.1 and 4.2.2).
pub fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

/// Reads `HOST[:PORT]`. The port may be left out only if there is a `default`.
pub fn authority_of(written: &str, default: Option<u16>) -> Result<(Host, u16), Malformed> {
    // Only the colons of an IPv6 address are not the port's.
    let end_of_host = written.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match written.get(end_of_host..).and_then(|rest| rest.find(':')) {
        Some(colon) => written.split_at(end_of_host + colon),
        None => (written, ""),
    };
    let port = match (port.strip_prefix(':'), default) {
        (Some(digits), _) => parse_port(digits)?,
        (None, Some(default)) => default,
        (None, None) => return Err(Malformed::Port),
    };
    Ok((Host::parse(host)?, port))
}

/// A port has one spelling here: no sign, no leading zero.
fn parse_port(digits: &str) -> Result<u16, Malformed> {
    let canonical = digits.starts_with(|c: char| ('1'..='9').contains(&c));
    digits.parse().ok().filter(|_| canonical).ok_or(Malformed::Port)
}
