//! The canonical form of a host. Whatever is decided, counted, logged or dialled is this form and never what was written.

use std::{fmt, net::Ipv6Addr};

/// Longest host name (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host in canonical form: lower case, without the root's dot.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Host {
    text: String,
    is_address: bool,
}

/// Neither a DNS name of LDH labels (RFC 5890 §2.3.1) nor an IP address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the host is neither a DNS name in ASCII nor an IP address")]
pub struct InvalidHost;

impl Host {
    /// Reads the host of a URI's authority (RFC 3986 §3.2.2); IPv6 addresses are in brackets.
    ///
    /// Stricter than the RFC: no percent-encoding, no zone, no underscore, no empty label but the root.
    pub fn parse(written: &str) -> Result<Self, InvalidHost> {
        let text = written.to_ascii_lowercase();
        if let Some(bracketed) = text.strip_prefix('[') {
            let address = bracketed.strip_suffix(']').ok_or(InvalidHost)?;
            address.parse::<Ipv6Addr>().map_err(|_| InvalidHost)?;
            return Ok(Self { text, is_address: true });
        }
        let name = text.strip_suffix('.').unwrap_or(&text);
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(InvalidHost);
        }
        let is_address = name.rsplit('.').next().is_some_and(is_number);
        Ok(Self { text: name.to_owned(), is_address })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether some resolver takes it for an IP address, in whatever spelling: `127.1`, `0x7f.1` and `2130706433` are
    /// addresses.
    pub fn is_address(&self) -> bool {
        self.is_address
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The URL standard's test for "ends in a number": a name with such a last label is an IPv4 address or nothing.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        for (written, canonical) in [
            ("telemetry.example", "telemetry.example"),
            ("Telemetry.EXAMPLE", "telemetry.example"),
            ("telemetry.example.", "telemetry.example"),
            ("localhost", "localhost"),
            ("LOCALHOST.", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("r3---sn-4g5e.example", "r3---sn-4g5e.example"),
            ("1.example", "1.example"),
            ("0xample", "0xample"),
            ("kubernetes.default.svc", "kubernetes.default.svc"),
        ] {
            let host = Host::parse(written).unwrap();
            assert_eq!((host.as_str(), host.is_address()), (canonical, false), "{written}");
        }
    }

    #[test]
    fn addresses_are_recognised_in_every_spelling() {
        for written in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "0",
            "0.0.0.0",
            "0x",
            "0x.0x",
            "10.96.0.1",
            "169.254.169.254",
            "169.254.169.254.",
            "100.100.100.200",
            "256.256.256.256",
            "1.2.3.4.5",
            "99999999999",
            "example.1",
            "example.0x1f",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[fe80::1]",
            "[FD00:EC2::254]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::a00:1]",
            "[2002:a00:1::]",
            "[::127.0.0.1]",
            "[2600:db8:1::1]",
        ] {
            assert!(Host::parse(written).unwrap().is_address(), "{written}");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}.example", ["a".repeat(49).as_str(); 5].join("."));
        assert_eq!(long_name.len(), 257);
        for written in [
            "",
            ".",
            "..",
            ".example",
            "example..",
            "a..example",
            ".example.",
            " ",
            "a b",
            " example",
            "example ",
            "\texample",
            "example\0",
            "allowed.example\0.evil.example",
            "example\r\n",
            "a\nb",
            "example%00",
            "%65xample",
            "ex%61mple.example",
            "%2e",
            "a@b",
            "user@example",
            "user:secret@example",
            "@example",
            "a#b",
            "a?b",
            "a/b",
            "a\\b",
            "a;b",
            "a,b",
            "a:443",
            "a:443:b",
            "a|b",
            "a^b",
            "a`b",
            "a'b",
            "a\"b",
            "a<b",
            "a>b",
            "{a}",
            "a*b",
            "*.example",
            "a_b.example",
            "_dns.example",
            "a~b",
            "a+b",
            "a=b",
            "a&b",
            "$a",
            "!a",
            "(a)",
            "-a.example",
            "a-.example",
            "a.-b",
            "-",
            "--",
            "bücher.example",
            "еxample.com",
            "ｅxample.com",
            "example。com",
            "example．com",
            "exam\u{ad}ple.com",
            "exam\u{200d}ple.com",
            "\u{202e}moc.elpmaxe",
            "①.example",
            "ⓔxample",
            "K.example\u{212a}",
            "::1",
            "fe80::1%eth0",
            "[::1%25eth0]",
            "[::1%eth0]",
            "[fe80::1%1]",
            "[::1",
            "::1]",
            "[]",
            "[:]",
            "[127.0.0.1]",
            "[v1.fe80::a]",
            "[::1].",
            "[::1]a",
            "[::g]",
            "[[::1]]",
            "[::1 ]",
            "\u{7f}",
            "a\u{80}b",
            "\u{feff}example.com",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Host::parse(written), Err(InvalidHost), "{written:?}");
        }
    }

    #[test]
    fn a_canonical_host_is_its_own_canonical_form() {
        for written in ["A.Example.", "localhost", "127.1", "[FE80::1]", &format!("{}.x", "a".repeat(63))] {
            let host = Host::parse(written).unwrap();
            assert_eq!(Host::parse(host.as_str()), Ok(host.clone()), "{written}");
        }
    }

    #[test]
    fn the_longest_name_and_label_are_names() {
        let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(name.len(), MAX_NAME);
        assert!(Host::parse(&name).is_ok());
        assert!(Host::parse(&format!("{name}.")).is_ok());
        assert!(Host::parse(&format!("{name}b")).is_err());
    }
}
