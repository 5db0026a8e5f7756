//! The canonical form of a path and of a query (RFC 3986, sections 3.3, 3.4 and 6.2.2). What is decided on, logged and sent
//! is this form and never what was written.
//!
//! Stricter than the RFC: what two servers may read differently is refused (dot segments, empty segments, controls, what
//! is not UTF-8), or matches no wildcard ([`is_plain`]).

use std::fmt::{self, Write as _};

/// Longest path with its query, in bytes.
pub const MAX_TARGET: usize = 8 << 10;

/// An absolute path in canonical form.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Path(String);

/// A query in canonical form: names with their values, in order.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Query(Vec<(String, Option<String>)>);

/// Why a path or a query has no canonical form.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("the path does not begin with `/`")]
    Relative,
    #[error("the path and its query have more than {MAX_TARGET} bytes")]
    Long,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has a segment `.` or `..`")]
    DotSegment,
    #[error("the path or the query holds a character that has to be percent-encoded")]
    Character,
    #[error("the path or the query holds a `%` without two hexadecimal digits")]
    Escape,
    #[error("the path or the query encodes a control character, or what is not UTF-8")]
    Encoding,
}

impl Path {
    /// Reads the path of a request's target, without its query.
    pub fn parse(written: &str) -> Result<Self, InvalidTarget> {
        if written.len() > MAX_TARGET {
            return Err(InvalidTarget::Long);
        }
        let segments = written.strip_prefix('/').ok_or(InvalidTarget::Relative)?;
        let mut path = String::with_capacity(written.len());
        let mut segments = segments.split('/').peekable();
        while let Some(segment) = segments.next() {
            let segment = canonical(segment, is_pchar)?;
            // Some file systems take the spaces around a name away.
            if matches!(segment.replace("%20", "").as_str(), "." | "..") {
                return Err(InvalidTarget::DotSegment);
            }
            // The last one may be empty: a path may end in `/`.
            if segment.is_empty() && segments.peek().is_some() {
                return Err(InvalidTarget::EmptySegment);
            }
            path.push('/');
            path.push_str(&segment);
        }
        Ok(Self(path))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands between the slashes; the last is empty if the path ends in one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.strip_prefix('/').unwrap_or_default().split('/')
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Query {
    /// Reads what stands after the `?`.
    pub fn parse(written: &str) -> Result<Self, InvalidTarget> {
        if written.len() > MAX_TARGET {
            return Err(InvalidTarget::Long);
        }
        let pair = |written: &str| {
            let (name, value) = match written.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (written, None),
            };
            let value = value.map(|value| canonical(value, is_query)).transpose()?;
            Ok((canonical(name, is_query)?, value))
        };
        let pairs = written.split('&').filter(|pair| !pair.is_empty()).map(pair);
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names with their values, in order.
    pub fn pairs(&self) -> &[(String, Option<String>)] {
        &self.0
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "&" };
            write!(f, "{separator}{name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Whether a part of a segment means the same to every server. Some take an encoded slash or backslash for a separator,
/// decode before they look for the query or the fragment, decode a percent sign twice, or end a segment at a semicolon: those
/// match only where a pattern writes them out.
pub fn is_plain(part: &str) -> bool {
    !["%2F", "%5C", "%23", "%3F", "%25", "%3B", ";"].iter().any(|ambiguous| part.contains(ambiguous))
}

/// Decodes what need not be encoded, and writes the rest in upper case (RFC 3986, sections 6.2.2.1 and 6.2.2.2).
fn canonical(written: &str, may_stand: fn(u8) -> bool) -> Result<String, InvalidTarget> {
    let mut canonical = String::with_capacity(written.len());
    let mut meant = Vec::with_capacity(written.len());
    let mut bytes = written.bytes();
    while let Some(byte) = bytes.next() {
        let (byte, is_encoded) = match byte {
            b'%' => (escaped(bytes.next(), bytes.next())?, true),
            byte => (byte, false),
        };
        meant.push(byte);
        match (is_unreserved(byte), is_encoded) {
            (true, _) => canonical.push(char::from(byte)),
            (false, true) => write!(canonical, "%{byte:02X}").unwrap_or_default(),
            (false, false) if may_stand(byte) => canonical.push(char::from(byte)),
            (false, false) => return Err(InvalidTarget::Character),
        }
    }
    let is_text = str::from_utf8(&meant).is_ok_and(|text| !text.chars().any(char::is_control));
    if is_text { Ok(canonical) } else { Err(InvalidTarget::Encoding) }
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8, InvalidTarget> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (high, low) = digit(high).zip(digit(low)).ok_or(InvalidTarget::Escape)?;
    Ok(high << 4 | low)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Beside unreserved and encoded ones.
fn is_pchar(byte: u8) -> bool {
    b"!$&'()*+,;=:@".contains(&byte)
}

fn is_query(byte: u8) -> bool {
    is_pchar(byte) || b"/?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(written: &str) -> Result<String, InvalidTarget> {
        Path::parse(written).map(|path| path.to_string())
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (written, canonical) in [
            ("/", "/"),
            ("/v1/messages", "/v1/messages"),
            ("/v1/messages/", "/v1/messages/"),
            ("/%76%31/m%65ssages", "/v1/messages"),
            ("/a%7eb%2D", "/a~b-"),
            ("/%c3%a9", "/%C3%A9"),
            ("/@scope%2fname", "/@scope%2Fname"),
            ("/a%20b", "/a%20b"),
            ("/models/x:generate", "/models/x:generate"),
            ("/models/x%3agenerate", "/models/x%3Agenerate"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%252e%252e/b", "/a%252e%252e/b"),
        ] {
            assert_eq!(path(written).as_deref(), Ok(canonical), "{written}");
            assert_eq!(path(canonical).as_deref(), Ok(canonical), "{canonical}");
        }
    }

    #[test]
    fn b09_what_servers_read_differently_is_no_path() {
        use InvalidTarget::{Character, DotSegment, EmptySegment, Encoding, Escape, Long, Relative};
        for (written, error) in [
            ("", Relative),
            ("*", Relative),
            ("v1", Relative),
            ("//evil.example/x", EmptySegment),
            ("/a//b", EmptySegment),
            ("/a//", EmptySegment),
            ("/.", DotSegment),
            ("/..", DotSegment),
            ("/public/../v1/files", DotSegment),
            ("/public/./x", DotSegment),
            ("/public/%2e%2e/v1/files", DotSegment),
            ("/public/..%20/v1/files", DotSegment),
            ("/public/%20./v1/files", DotSegment),
            ("/public/.%2E/v1/files", DotSegment),
            ("/a\\b", Character),
            ("/a b", Character),
            ("/a\tb", Character),
            ("/a\"b", Character),
            ("/a<b>", Character),
            ("/a|b", Character),
            ("/a^b", Character),
            ("/a`b", Character),
            ("/{a}", Character),
            ("/a#b", Character),
            ("/a?b", Character),
            ("/[a]", Character),
            ("/é", Character),
            ("/%", Escape),
            ("/%2", Escape),
            ("/%zz", Escape),
            ("/%u0041", Escape),
            ("/%+1", Escape),
            ("/%00", Encoding),
            ("/a%0d%0aHost:%20evil", Encoding),
            ("/%7f", Encoding),
            ("/%c2%85", Encoding),
            // An overlong slash, a lone surrogate, a stray byte.
            ("/%c0%af", Encoding),
            ("/%ed%a0%80", Encoding),
            ("/%ff", Encoding),
            (&format!("/{}", "a".repeat(MAX_TARGET)), Long),
        ] {
            assert_eq!(path(written), Err(error), "{written:?}");
        }
    }

    #[test]
    fn a_query_has_one_spelling() {
        for (written, canonical, names) in [
            ("", "", vec![]),
            ("beta=true", "beta=true", vec!["beta"]),
            ("a&b=&c=1%2f2&&a=x?y/z", "a&b=&c=1%2F2&a=x?y/z", vec!["a", "b", "c", "a"]),
            ("%62eta=1=2", "beta=1=2", vec!["beta"]),
        ] {
            let query = Query::parse(written).unwrap();
            let found: Vec<_> = query.pairs().iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!((query.to_string().as_str(), found), (canonical, names));
            assert_eq!(Query::parse(canonical), Ok(query));
        }
        assert_eq!(Query::parse("a=%0a"), Err(InvalidTarget::Encoding));
        assert_eq!(Query::parse("a=b#c"), Err(InvalidTarget::Character));
    }
}
