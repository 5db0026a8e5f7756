//! What a workspace asks for: the forms of a request's target (RFC 9112 §3.2, RFC 9113 §8.3.1) become what is decided on.

use std::borrow::Cow;

use http::{HeaderMap, Method, header, request::Parts};
use hyper::body::Body;
use ws_api::{
    egress::Scheme,
    gateway::{OWN_HOST, OWN_PORT},
};
use ws_policy::{
    host::{Host, MAX_NAME},
    request::{Length, Malformed, Request, authority_of, default_port},
};

/// What is asked of the proxy port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asked {
    /// A connection (RFC 9110 §9.3.6).
    Tunnel(Destination),
    Request(Request),
}

/// Where a request or a connection goes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    pub host: Host,
    pub port: u16,
}

impl Destination {
    /// Whether it is the gateway itself.
    pub fn is_gateway(&self) -> bool {
        self.host.as_str() == OWN_HOST && self.port == OWN_PORT
    }

    /// Whether it is what a client in TLS says that it wants to reach.
    pub fn is_named(&self, in_tls: Option<&str>) -> bool {
        in_tls.is_some_and(|named| Host::parse(named).as_ref() == Ok(&self.host))
    }
}

/// Why a request on a tunnel is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misfit {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("misdirected request: it names another host than the connection it came on")]
    Misdirected,
}

impl Asked {
    /// Reads the head of a request to the proxy. As RFC 9112 §3.2.2 demands of a proxy, a target that names a host stands above
    /// the Host header.
    pub fn read(head: &Parts, body: Length) -> Result<Self, Malformed> {
        let uri = &head.uri;
        match (uri.scheme(), uri.authority()) {
            (None, Some(authority)) if head.method == Method::CONNECT => {
                let (host, port) = authority_of(authority.as_str(), None)?;
                Ok(Self::Tunnel(Destination { host, port }))
            }
            (Some(_), Some(_)) if head.method != Method::CONNECT => {
                Ok(Self::Request(Request::absolute(head.method.clone(), uri, body)?))
            }
            (None, None) if is_path(head) => {
                let destination = host_header(&head.headers)?.ok_or(Malformed::NoHost)?;
                let destination = authority_of(&destination, Some(default_port(Scheme::Http)))?;
                let (method, scheme) = (head.method.clone(), Scheme::Http);
                Ok(Self::Request(Request::at(destination, method, scheme, uri, body)?))
            }
            _ => Err(Malformed::Form),
        }
    }

    /// Host and port.
    pub fn destination(&self) -> Destination {
        match self {
            Self::Tunnel(destination) => destination.clone(),
            Self::Request(request) => Destination { host: request.host.clone(), port: request.port },
        }
    }
}

/// Reads the head of a request that came on a tunnel: whatever of it names a host has to name the tunnel's.
pub fn within(tunnel: &Destination, scheme: Scheme, head: &Parts, body: Length) -> Result<Request, Misfit> {
    let uri = &head.uri;
    let is_read = match uri.scheme_str() {
        Some(written) => written == if scheme == Scheme::Https { "https" } else { "http" },
        None => uri.authority().is_none(),
    };
    if head.method == Method::CONNECT || !is_read || !uri.path().starts_with('/') {
        return Err(Malformed::Form.into());
    }
    let written = uri.authority().map(|authority| Cow::Borrowed(authority.as_str()));
    let named: Vec<_> = written.into_iter().chain(host_header(&head.headers)?).collect();
    if named.is_empty() {
        return Err(Malformed::NoHost.into());
    }
    for name in named {
        let (host, port) = authority_of(&name, Some(default_port(scheme)))?;
        if host != tunnel.host || port != tunnel.port {
            return Err(Misfit::Misdirected);
        }
    }
    let destination = (tunnel.host.clone(), tunnel.port);
    let request = Request::at(destination, head.method.clone(), scheme, uri, body)?;
    Ok(Request { opens_web_socket: opens_web_socket(&head.headers), ..request })
}

/// Whether another protocol is asked for on the connection, and that is the WebSocket's (RFC 6455 §4.1).
fn opens_web_socket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    protocols.any(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What the head of a message says of its body, as the HTTP library read it.
pub fn length(body: &impl Body) -> Length {
    match body.size_hint().exact() {
        Some(0) => Length::None,
        Some(bytes) => Length::Bytes(bytes),
        None => Length::Unknown,
    }
}

fn is_path(head: &Parts) -> bool {
    head.method != Method::CONNECT && head.uri.path().starts_with('/')
}

fn host_header(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Malformed> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(Malformed::SeveralHosts);
    }
    match String::from_utf8_lossy(host.as_bytes()) {
        host if host.is_empty() => Err(Malformed::NoHost),
        host => Ok(Some(host)),
    }
}

/// The host as the workspace wrote it, for the record of a request that could not be read: hostile, cut to [`MAX_NAME`]
/// characters.
pub fn written_host(head: &Parts) -> String {
    let written = match head.uri.authority() {
        Some(authority) => Cow::Borrowed(authority.as_str()),
        None => head
            .headers
            .get(header::HOST)
            .map_or(Cow::Borrowed(""), |host| String::from_utf8_lossy(host.as_bytes())),
    };
    // What stands before an `@` may be a password.
    let host = written.rsplit('@').next().unwrap_or_default();
    host.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests;
