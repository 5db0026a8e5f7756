//! Scripts of a workspace that speak TLS to a host as no well-behaved client does.

const CONNECT: &str = include_str!("tunnel.py");

/// A Python script with the function `connect(host, patience, protocols)` before it, which opens a tunnel through the gateway and TLS in
/// it; `patience` is in seconds, `protocols` are those of ALPN (RFC 7301).
pub fn with_connect(script: &str) -> String {
    [CONNECT, script].concat()
}
