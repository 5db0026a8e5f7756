//! What a workspace asks for: the three forms of a request's target (RFC 9112 §3.2) become one [`Request`].

use std::borrow::Cow;

use http::{HeaderMap, Method, Uri, header, request::Parts, uri::Scheme};

mod host;

pub use host::{Host, InvalidHost, MAX_NAME};

/// A request that can be decided on: everything in it is canonical.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub method: Method,
    pub host: Host,
    pub port: u16,
}

/// Why a request cannot be decided on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    #[error(transparent)]
    Host(#[from] InvalidHost),
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the request names no host")]
    NoHost,
    #[error("the request has several Host headers")]
    SeveralHosts,
    #[error("the target's scheme is neither http nor https")]
    Scheme,
    #[error("the target is neither a URL, nor a path, nor the HOST:PORT of a CONNECT")]
    Form,
}

impl Request {
    /// Reads a request's head. As RFC 9112 §3.2.2 demands of a proxy, a target that names a host stands above the Host
    /// header.
    pub fn read(head: &Parts) -> Result<Self, Malformed> {
        let (host, port) = target(&head.method, &head.uri, &head.headers)?;
        Ok(Self { method: head.method.clone(), host, port })
    }
}

fn target(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(Host, u16), Malformed> {
    match (uri.scheme(), uri.authority()) {
        (None, Some(authority)) if method == Method::CONNECT => split(authority.as_str(), None),
        (Some(scheme), Some(authority)) if method != Method::CONNECT => {
            split(authority.as_str(), Some(default_port(scheme)?))
        }
        (None, None) if method != Method::CONNECT && uri.path().starts_with('/') => {
            split(&host_header(headers)?, Some(80))
        }
        _ => Err(Malformed::Form),
    }
}

fn default_port(scheme: &Scheme) -> Result<u16, Malformed> {
    match scheme.as_str() {
        "http" => Ok(80),
        "https" => Ok(443),
        _ => Err(Malformed::Scheme),
    }
}

fn host_header(headers: &HeaderMap) -> Result<Cow<'_, str>, Malformed> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().ok_or(Malformed::NoHost)?;
    if hosts.next().is_some() {
        return Err(Malformed::SeveralHosts);
    }
    match String::from_utf8_lossy(host.as_bytes()) {
        host if host.is_empty() => Err(Malformed::NoHost),
        host => Ok(host),
    }
}

/// Splits `HOST[:PORT]`. The port may be left out only if there is a `default`.
fn split(authority: &str, default: Option<u16>) -> Result<(Host, u16), Malformed> {
    // Only the colons of an IPv6 address are not the port's.
    let end_of_host = authority.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match authority.get(end_of_host..).and_then(|rest| rest.find(':')) {
        Some(colon) => authority.split_at(end_of_host + colon),
        None => (authority, ""),
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
