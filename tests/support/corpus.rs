//! Hosts, paths and requests in spellings that two programs may read differently: what a gateway is attacked with.

mod hosts;

pub use hosts::hosts;

/// Ways from a folder that is allowed to one that is not.
const UP: [&str; 30] = [
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    ".%2e/",
    "%2e./",
    "..\\",
    "..%5c",
    "%2e%2e%5c",
    "%252e%252e/",
    "%252e%252e%252f",
    "..;/",
    "..;x/",
    "..%3b/",
    "..//",
    ".././",
    "./../",
    "%c0%ae%c0%ae/",
    "%c0%ae%c0%ae%c0%af",
    "..%c0%af",
    "%e0%80%ae%e0%80%ae/",
    "..%00/",
    "..%0d%0a/",
    "..%09/",
    "..%20/",
    "..%23/",
    "..%3f/",
    "..\u{2215}",
    "\u{ff0e}\u{ff0e}/",
    "%uff0e%uff0e/",
];
/// What stands before such a way, and what after it.
const BEFORE: [&str; 5] = ["/public/", "/public//", "/public/x/../", "/public/./", "//public/"];
/// Paths that are to be read as one that is not allowed.
const OUTRIGHT: [&str; 16] = [
    "/secret/",
    "//secret/",
    "/./secret/",
    "/%2fsecret/",
    "/%73ecret/",
    "/SECRET/",
    "/public%2f..%2fsecret/",
    "/public%5c..%5csecret/",
    "/public;/../secret/",
    "/public?/../../secret/",
    "/public#/../../secret/",
    "/publicsecret/",
    "/public%00/secret/",
    "/.%2fsecret/",
    "/public/../",
    "/../",
];

/// At least 150 paths, each of which some program reads as one that is not below `/public/`; another segment may be added.
pub fn paths() -> impl Iterator<Item = String> {
    let ways = BEFORE.iter().flat_map(|before| UP.iter().map(move |up| format!("{before}{up}secret/")));
    ways.chain(OUTRIGHT.map(str::to_owned))
}

/// What becomes of bytes that may be two requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// They are refused, and the connection is closed.
    Refused,
    /// They are one request at most, after which the connection is closed (RFC 9112 §6.1).
    Closed,
    /// They are one request that is allowed, at most.
    Once,
}

type Smuggled = Vec<(&'static str, Fate, String)>;

/// Bytes that some programs take for one request and others for two, of which the second asks for `hidden`.
pub fn smuggled(host: &str, hidden: &str) -> Smuggled {
    let second = format!("GET {hidden} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let denied = (
        "a denied request, then another",
        Fate::Refused,
        format!("GET {hidden} HTTP/1.1\r\nHost: {host}\r\n\r\n{second}"),
    );
    let all = [
        by_coding(host, &second),
        by_length(host, &second),
        by_chunks(host, &second),
        by_upgrade(host, &second),
        by_first_line(host, &second),
        vec![denied],
    ];
    all.concat()
}

fn post(host: &str, headers: &str, body: &str) -> String {
    format!("POST /public/form HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n{body}")
}

fn by_coding(host: &str, second: &str) -> Smuggled {
    let chunked = |coding: &str| {
        post(host, &format!("{coding}\r\nContent-Length: 4\r\n"), &format!("0\r\n\r\n{second}"))
    };
    vec![
        ("a length and chunks", Fate::Closed, chunked("Transfer-Encoding: chunked")),
        ("a length and identity", Fate::Refused, chunked("Transfer-Encoding: identity")),
        ("a coding with a space", Fate::Refused, chunked("Transfer-Encoding : chunked")),
        ("a coding with a tab", Fate::Closed, chunked("Transfer-Encoding:\tchunked")),
        ("a coding in capitals", Fate::Closed, chunked("Transfer-Encoding: CHUNKED")),
        ("two codings", Fate::Closed, chunked("Transfer-Encoding: gzip, chunked")),
        (
            "a coding twice",
            Fate::Refused,
            chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ),
        ("a coding that is none", Fate::Refused, chunked("Transfer-Encoding: xchunked")),
        ("a coding with a vertical tab", Fate::Refused, chunked("Transfer-Encoding: \u{b}chunked")),
        ("a folded coding", Fate::Refused, chunked("Transfer-Encoding:\r\n chunked")),
        ("a coding after a bare line feed", Fate::Closed, chunked("X: y\nTransfer-Encoding: chunked")),
    ]
}

fn by_length(host: &str, second: &str) -> Smuggled {
    let post = |headers: &str, body: &str| post(host, headers, body);
    let length = second.len();
    vec![
        (
            "two lengths",
            Fate::Refused,
            post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), second),
        ),
        (
            "two lengths, the other first",
            Fate::Refused,
            post(&format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), second),
        ),
        ("one length twice", Fate::Once, post("Content-Length: 0\r\nContent-Length: 0\r\n", second)),
        (
            "one length twice, of what is hidden",
            Fate::Once,
            post(&format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"), second),
        ),
        (
            "a list of one length",
            Fate::Refused,
            post(&format!("Content-Length: {length}, {length}\r\n"), second),
        ),
        ("a list of lengths", Fate::Refused, post(&format!("Content-Length: 0, {length}\r\n"), second)),
        ("a signed length", Fate::Refused, post("Content-Length: +0\r\n", second)),
        ("a hexadecimal length", Fate::Refused, post("Content-Length: 0x0\r\n", second)),
        ("a negative length", Fate::Refused, post("Content-Length: -1\r\n", second)),
        ("a long length", Fate::Refused, post("Content-Length: 99999999999999999999\r\n", second)),
        ("no length", Fate::Once, post("", second)),
    ]
}

fn by_chunks(host: &str, second: &str) -> Smuggled {
    let post = |headers: &str, body: &str| post(host, headers, body);
    vec![
        (
            "a chunk's size in two readings",
            Fate::Closed,
            post("Transfer-Encoding: chunked\r\n", &format!("0x0\r\n\r\n{second}")),
        ),
        (
            "a chunk's size too long",
            Fate::Closed,
            post("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n\r\n{second}")),
        ),
        (
            "a chunk's extension",
            Fate::Once,
            post("Transfer-Encoding: chunked\r\n", &format!("0;x=\"\r\n\r\n{second}")),
        ),
        (
            "a chunk after a bare line feed",
            Fate::Closed,
            post("Transfer-Encoding: chunked\r\n", &format!("0\n\n{second}")),
        ),
        (
            "trailers",
            Fate::Once,
            post(
                "Transfer-Encoding: chunked\r\nTrailer: x\r\n",
                &format!("0\r\nHost: hidden.example\r\nAuthorization: mine\r\n\r\n{second}"),
            ),
        ),
    ]
}

fn by_upgrade(host: &str, second: &str) -> Smuggled {
    let post = |headers: &str, body: &str| post(host, headers, body);
    let length = second.len();
    vec![
        (
            "an expectation",
            Fate::Once,
            post(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"), second),
        ),
        (
            "an unknown expectation",
            Fate::Once,
            post(&format!("Expect: x\r\nContent-Length: {length}\r\n"), second),
        ),
        (
            "an upgrade",
            Fate::Once,
            post(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 0\r\n",
                second,
            ),
        ),
        (
            "a web socket",
            Fate::Refused,
            post(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n",
                second,
            ),
        ),
    ]
}

fn by_first_line(host: &str, second: &str) -> Smuggled {
    let post = |headers: &str, body: &str| post(host, headers, body);
    let length = second.len();
    vec![
        (
            "a request line with more",
            Fate::Refused,
            format!("GET /public/x HTTP/1.1 HTTP/1.1\r\nHost: {host}\r\n\r\n{second}"),
        ),
        (
            "a request line after a bare line feed",
            Fate::Once,
            format!("GET /public/x HTTP/1.1\nHost: {host}\n\n{second}"),
        ),
        ("HTTP/0.9", Fate::Refused, format!("GET /public/x\r\n\r\n{second}")),
        ("HTTP/2 without TLS saying so", Fate::Refused, format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{second}")),
        (
            "a method in lower case",
            Fate::Refused,
            format!("get /public/x HTTP/1.1\r\nHost: {host}\r\n\r\n{second}"),
        ),
        (
            "a method that overrides",
            Fate::Once,
            post("X-HTTP-Method-Override: PUT\r\nContent-Length: 0\r\n", second),
        ),
        (
            "a tunnel in a tunnel",
            Fate::Refused,
            format!("CONNECT hidden.example:443 HTTP/1.1\r\nHost: {host}\r\n\r\n{second}"),
        ),
        ("a trace", Fate::Refused, format!("TRACE /public/x HTTP/1.1\r\nHost: {host}\r\n\r\n{second}")),
        (
            "a body where there is none",
            Fate::Refused,
            format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{second}"),
        ),
    ]
}
