//! The one place where a request is allowed or denied.

use ws_api::names::ClassName;

use crate::request::{Host, Request};

/// What a workspace's requests are judged by.
///
/// It holds no rule that a request could satisfy.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Named in what the workspace is told.
    pub class: &'a ClassName,
}

/// Permission to send a request. Only [`decide`] makes it, so nothing can be dialled without a decision.
///
/// Without variants it cannot be made at all: that the gateway allows nothing is checked by the compiler.
#[derive(Debug)]
pub enum Allowed {}

/// Why a request is denied.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    #[error("{host} denied: no egress rule of class \"{class}\" allows it")]
    HostNotAllowed { host: Host, class: ClassName },
    #[error("{host} denied: it is an IP address, and egress rules name hosts")]
    IpLiteral { host: Host },
}

/// Decides on a request. Pure: it resolves nothing and reaches nobody.
pub fn decide(policy: &Policy<'_>, request: &Request) -> Result<Allowed, Denied> {
    let host = request.host.clone();
    if host.is_address() {
        return Err(Denied::IpLiteral { host });
    }
    Err(Denied::HostNotAllowed { host, class: policy.class.clone() })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn denied(method: Method, host: &str, port: u16) -> Denied {
        let class = "default".parse().unwrap();
        let request = Request { method, host: Host::parse(host).unwrap(), port };
        let Err(denied) = decide(&Policy { class: &class }, &request);
        denied
    }

    #[test]
    fn nothing_is_allowed_and_the_refusal_names_host_and_class() {
        for (method, host, port) in [
            (Method::CONNECT, "telemetry.example", 443),
            (Method::GET, "telemetry.example", 80),
            (Method::CONNECT, "localhost.", 3128),
            (Method::CONNECT, "kubernetes.default.svc", 443),
            (Method::CONNECT, "ws-gateway", 3129),
        ] {
            let name = host.trim_end_matches('.');
            assert_eq!(
                denied(method, host, port).to_string(),
                format!("{name} denied: no egress rule of class \"default\" allows it")
            );
        }
    }

    #[test]
    fn an_address_is_never_a_host() {
        for host in ["127.0.0.1", "0x7f.1", "10.96.0.1", "20.0.113.66", "[::1]"] {
            assert!(matches!(denied(Method::CONNECT, host, 443), Denied::IpLiteral { .. }), "{host}");
        }
    }
}
