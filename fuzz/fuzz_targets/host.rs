//! Hosts and authorities: each has one canonical form, and what some resolver takes for an address is recognised as one.

#![no_main]

use std::net::Ipv6Addr;

use http::uri::Authority;
use libfuzzer_sys::fuzz_target;
use ws_policy::{
    host::{Host, MAX_NAME},
    request::authority_of,
};

fuzz_target!(|written: &str| {
    if let Ok(host) = Host::parse(written) {
        let canonical = host.as_str();
        assert_eq!(Host::parse(canonical).as_ref(), Ok(&host), "canonicalising is idempotent");
        assert_eq!(Host::parse(&written.to_ascii_uppercase()).as_ref(), Ok(&host), "case says nothing");
        assert!(
            written.eq_ignore_ascii_case(canonical) || written.eq_ignore_ascii_case(&format!("{canonical}."))
        );
        assert!(canonical.len() <= MAX_NAME.max("[::ffff:255.255.255.255]".len() + 21));
        assert!(
            canonical
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.[:]".contains(&byte))
        );
        let bracketed = canonical.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        assert_eq!(bracketed.is_some(), canonical.contains([':', '[', ']']));
        if bracketed.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) || is_ipv4(canonical) {
            assert!(host.is_address(), "a resolver takes it for an address");
        }
    }
    if let Ok((host, port)) = authority_of(written, Some(443)) {
        assert_ne!(port, 0);
        assert_eq!(authority_of(&format!("{host}:{port}"), None), Ok((host.clone(), port)));
        // It is dialled by way of a URL, so that the library has to read the same.
        let read: Authority = written.parse().expect("an authority of ours is one of a URL");
        assert_eq!(Host::parse(read.host()), Ok(host));
        assert_eq!(read.port_u16().unwrap_or(443), port);
    }
});

/// What `inet_aton` takes: one to four numbers, decimal, octal or hexadecimal, of which the last fills the rest.
fn is_ipv4(text: &str) -> bool {
    let number = |part: &str| match (part.strip_prefix("0x"), part.strip_prefix('0')) {
        (Some(hexadecimal), _) => u64::from_str_radix(hexadecimal, 16).ok(),
        (None, Some("")) => Some(0),
        (None, Some(octal)) => u64::from_str_radix(octal, 8).ok(),
        (None, None) => part.parse().ok(),
    };
    let parts: Vec<_> = text.split('.').map(number).collect();
    let Some((Some(last), before)) = parts.split_last() else { return false };
    before.len() < 4
        && before.iter().all(|part| part.is_some_and(|part| part < 256))
        && *last < 1 << (8 * (4 - before.len()))
}
