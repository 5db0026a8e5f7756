//! The beginning of TLS in a tunnel, through the TLS library: only who says there the tunnel's name and no other is led to its host.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use rustls::server::{Accepted, Acceptor};
use ws_policy::host::Host;

use crate::request::Destination;

#[allow(dead_code)]
#[path = "../../operator/gateway/src/request.rs"]
mod request;

/// Of a record, of a message, of an extension, and of a name (RFC 8446 §5.1, §4, §4.2, RFC 6066 §3).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

fuzz_target!(|bytes: &[u8]| {
    let Some(accepted) = accepted(bytes) else { return };
    let said = hello(bytes).and_then(|hello| names(&hello)).expect("it is read");
    let is_said = |host: &str| {
        let is_it =
            |name: &[u8]| name.strip_suffix(b".").unwrap_or(name).eq_ignore_ascii_case(host.as_bytes());
        matches!(&said[..], [name] if is_it(name))
    };
    for host in ["a.example", "b.example", "a.example.b.example"] {
        let tunnel = Destination { host: Host::parse(host).expect("a host"), port: 443 };
        let is_led = tunnel.is_named(accepted.client_hello().server_name());
        assert_eq!(is_led, is_said(host), "{host}, and it said {said:?}");
    }
});

/// What the gateway's library takes.
fn accepted(bytes: &[u8]) -> Option<Accepted> {
    let (mut acceptor, mut bytes) = (Acceptor::default(), Cursor::new(bytes));
    loop {
        if let Some(accepted) = acceptor.accept().ok()? {
            return Some(accepted);
        }
        acceptor.read_tls(&mut bytes).ok().filter(|read| *read > 0)?;
    }
}

/// The first message of the records.
fn hello(mut records: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        if let [CLIENT_HELLO, a, b, c, content @ ..] = &message[..] {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if let Some(content) = content.get(..length) {
                return Some(content.to_vec());
            }
        }
        let [kind, _version @ ..] = taken(&mut records, 3)? else { return None };
        let fragment = with_length(&mut records, 2)?;
        (*kind == HANDSHAKE).then(|| message.extend(fragment))?;
    }
}

/// The names that it says.
fn names(mut hello: &[u8]) -> Option<Vec<Vec<u8>>> {
    // A version and a random number, a session, what may be used for secrecy and to make it short.
    taken(&mut hello, 2 + 32)?;
    for length in [1, 2, 1] {
        with_length(&mut hello, length)?;
    }
    let mut extensions = with_length(&mut hello, 2)?;
    let mut names = Vec::new();
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let mut extension = with_length(&mut extensions, 2)?;
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        let mut list = with_length(&mut extension, 2)?;
        // How long a name of another kind is, nobody knows.
        while let [HOST_NAME, rest @ ..] = list {
            list = rest;
            names.push(with_length(&mut list, 2)?.to_vec());
        }
    }
    Some(names)
}

/// What follows its length, which takes so many bytes.
fn with_length<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let length = number(bytes, size)?;
    taken(bytes, length)
}

fn number(bytes: &mut &[u8], size: usize) -> Option<usize> {
    Some(taken(bytes, size)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn taken<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}
