//! Paths as git writes them in patches (core.quotePath).

/// A path with its prefix, quoted in C style if it holds anything but printable ASCII.
pub fn quoted(prefix: &str, path: &[u8]) -> Vec<u8> {
    let plain = path.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    let mut out = Vec::with_capacity(path.len() + 4);
    if plain {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(path);
        return out;
    }
    out.push(b'"');
    out.extend_from_slice(prefix.as_bytes());
    for byte in path {
        quote(&mut out, *byte);
    }
    out.push(b'"');
    out
}

fn quote(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        0x07 => b'a',
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0b => b'v',
        0x0c => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        b' '..=b'~' => return out.push(byte),
        _ => return out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_as_git_quotes_them() {
        for (path, expected) in [
            (&b"a b.rs"[..], &b"a/a b.rs"[..]),
            (b"a\tb", b"\"a/a\\tb\""),
            (b"a\"\\", b"\"a/a\\\"\\\\\""),
            ("ß".as_bytes(), b"\"a/\\303\\237\""),
            (b"\xff\x01", b"\"a/\\377\\001\""),
        ] {
            assert_eq!(quoted("a/", path), expected);
        }
    }
}
