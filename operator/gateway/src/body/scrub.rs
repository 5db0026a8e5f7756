//! Keeps a credential from coming back: a host may show what it was sent, in an echo, an error page or a header. Pure.

use std::{fmt::Write as _, sync::Arc};

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine as _};
use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// Shorter ones are found in anything.
const MIN: usize = 6;

/// A credential in the spellings in which servers show what they were sent.
#[derive(Debug)]
pub struct Spellings(Vec<Finder<'static>>);

/// Looks for a credential in what comes in pieces.
#[derive(Debug)]
pub struct Search {
    spellings: Arc<Spellings>,
    /// The end of what came, which may be the beginning of the credential.
    held: BytesMut,
}

/// The credential was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found;

impl Spellings {
    /// As it is, in hexadecimal digits, with its signs escaped as URLs, JSON and HTML do, and in base64, wherever in a longer text it
    /// stands. What is in base64 itself, as that of HTTP's Basic scheme (RFC 7617), is looked for as what it says too.
    pub fn of(credential: &str) -> Self {
        let decoded = BASE64_STANDARD.decode(credential).ok().and_then(|text| String::from_utf8(text).ok());
        let basic = decoded.as_deref().and_then(|text| Some((text, text.split_once(':')?.1)));
        let mut spellings = Vec::new();
        for text in std::iter::once(credential)
            .chain(basic.into_iter().flat_map(|(whole, password)| [whole, password]))
        {
            if text.len() >= MIN {
                spell(text.as_bytes(), &mut spellings);
            }
        }
        spellings.sort_unstable();
        spellings.dedup();
        Self(spellings.into_iter().map(|spelling| Finder::new(&spelling).into_owned()).collect())
    }

    /// Whether the credential is in there.
    pub fn are_in(&self, text: &[u8]) -> bool {
        self.0.iter().any(|spelling| spelling.find(text).is_some())
    }

    /// Bytes at the end of a text that a spelling begins with.
    fn begun_in(&self, text: &[u8]) -> usize {
        self.0.iter().map(|spelling| begun(spelling.needle(), text)).max().unwrap_or_default()
    }

    /// Whether a text ends with half of a spelling.
    fn are_half_in(&self, text: &[u8]) -> bool {
        let is_half = |spelling: &[u8]| begun(spelling, text) >= (spelling.len() / 2).max(MIN - 1);
        self.0.iter().any(|spelling| is_half(spelling.needle()))
    }
}

impl Search {
    pub fn new(spellings: Arc<Spellings>) -> Self {
        Self { spellings, held: BytesMut::new() }
    }

    /// Whether the credential is in a text that is whole.
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.spellings.are_in(text)
    }

    /// Takes a piece; what may be passed on by now.
    pub fn push(&mut self, piece: &Bytes) -> Result<Bytes, Found> {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        if self.spellings.are_in(&text) {
            return Err(Found);
        }
        let held = text.len() - self.spellings.begun_in(&text);
        self.held = text.split_off(held);
        Ok(text.freeze())
    }

    /// Whether what came ends with half of the credential, or more: for who cannot hold it back.
    pub fn is_close(&self) -> bool {
        self.spellings.are_half_in(&self.held)
    }

    /// What was held back until the end showed that it is harmless.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }
}

/// Adds the spellings of these bytes.
fn spell(bytes: &[u8], spellings: &mut Vec<Vec<u8>>) {
    spellings.extend([bytes.to_vec(), hex(bytes).into_bytes(), hex(bytes).to_uppercase().into_bytes()]);
    spellings.push(escaped(bytes, |sign| format!("%{sign:02X}")));
    spellings.push(escaped(bytes, |sign| format!("%{sign:02x}")));
    spellings.push(escaped(bytes, |sign| format!("&#{sign};")));
    spellings.push(escaped(bytes, |sign| format!("&#x{sign:x};")));
    spellings.push(escaped(bytes, |sign| format!("&#x{sign:X};")));
    spellings.push(escaped(bytes, |sign| format!("\\u{sign:04x}")));
    spellings.push(String::from_utf8_lossy(bytes).replace('/', "\\/").into_bytes());
    for offset in 0..3 {
        let middle = base64(bytes, offset);
        spellings.push(middle.replace('+', "-").replace('/', "_").into_bytes());
        spellings.push(middle.into_bytes());
    }
}

/// With all that is no letter, digit or one of the signs that are never escaped in its place.
fn escaped(bytes: &[u8], escape: impl Fn(u8) -> String) -> Vec<u8> {
    bytes.iter().fold(Vec::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.extend_from_slice(escape(*byte).as_bytes());
        }
        text
    })
}

/// Bytes at the end of a text that a spelling begins with.
fn begun(spelling: &[u8], text: &[u8]) -> usize {
    let most = text.len().min(spelling.len().saturating_sub(1));
    let ends = |length: &usize| text.ends_with(spelling.get(..*length).unwrap_or_default());
    (1..=most).rev().find(ends).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// The characters of base64 (RFC 4648 §4) that depend on nothing but `bytes`, where those begin at `offset` of a group of three.
fn base64(bytes: &[u8], offset: usize) -> String {
    let encoded = BASE64_STANDARD_NO_PAD.encode([&vec![0; offset], bytes].concat());
    // A character has six bits: the first ones have some of what stands before, and the last one may have some of what follows.
    let first = (offset * 8).div_ceil(6);
    let end = (offset + bytes.len()) * 8 / 6;
    encoded.get(first..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-ant-1/2+3=é~x";

    fn passed(pieces: &[&[u8]]) -> Result<Vec<u8>, Found> {
        let mut search = Search::new(Arc::new(Spellings::of(SECRET)));
        let mut passed = Vec::new();
        for piece in pieces {
            passed.extend(search.push(&Bytes::copy_from_slice(piece))?);
        }
        passed.extend(search.finish());
        Ok(passed)
    }

    #[test]
    fn b24_every_spelling_is_found_at_every_place_and_split_anywhere() {
        for spelling in [
            SECRET.to_owned(),
            "736b2d616e742d312f322b333dc3a97e78".to_owned(),
            "736B2D616E742D312F322B333DC3A97E78".to_owned(),
            "sk-ant-1%2F2%2B3%3D%C3%A9~x".to_owned(),
            "sk-ant-1%2f2%2b3%3d%c3%a9~x".to_owned(),
            "sk-ant-1\\/2+3=é~x".to_owned(),
            // `x` and `yy` before it.
            "c2stYW50LTEvMiszPcOpfng=".to_owned(),
            "eHNrLWFudC0xLzIrMz3DqX54".to_owned(),
            "eXlzay1hbnQtMS8yKzM9w6l+eA==".to_owned(),
            "eXlzay1hbnQtMS8yKzM9w6l-eA".to_owned(),
        ] {
            let text = format!("{{\"echo\": \"{spelling}\"}}").into_bytes();
            for split in 0..text.len() {
                let (one, other) = text.split_at(split);
                assert_eq!(passed(&[one, other]), Err(Found), "{spelling} at {split}");
            }
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(passed(&bytes), Err(Found), "{spelling}");
        }
    }

    #[test]
    fn b24_what_the_basic_scheme_says_is_found_as_well() {
        for shown in ["bot:ghp_secret", "ghp_secret", "Ym90OmdocF9zZWNyZXQ=", "6768705f736563726574"] {
            assert!(
                Spellings::of("Ym90OmdocF9zZWNyZXQ=").are_in(format!("bad token {shown}!").as_bytes()),
                "{shown}"
            );
        }
        assert!(!Spellings::of("Ym90OmdocF9zZWNyZXQ=").are_in(b"bot"));
    }

    #[test]
    fn b24_half_of_it_is_too_much_where_nothing_is_held_back() {
        let mut search = Search::new(Arc::new(Spellings::of(SECRET)));
        let mut passed = 0;
        for byte in SECRET.as_bytes().chunks(1) {
            search.push(&Bytes::copy_from_slice(byte)).unwrap();
            if search.is_close() {
                break;
            }
            passed += 1;
        }
        assert!((MIN - 1..SECRET.len() / 2).contains(&passed), "{passed}");
        search.push(&Bytes::from_static(b"!")).unwrap();
        assert!(!search.is_close());
    }

    #[test]
    fn everything_else_passes_unchanged_and_in_time() {
        let near = &SECRET[..SECRET.len() - 1];
        for pieces in [
            vec![&b"data: {}\n\n"[..], b"data: [DONE]\n\n"],
            vec![near.as_bytes(), b"!", near.as_bytes()],
            vec![b"sk-ant-", b"sk-ant-", b"1"],
            vec![b"", b""],
        ] {
            assert_eq!(passed(&pieces), Ok(pieces.concat()), "{pieces:?}");
        }
        let mut search = Search::new(Arc::new(Spellings::of(SECRET)));
        let event = Bytes::from_static(b"data: {}\n\n");
        assert_eq!(search.push(&event), Ok(event.clone()), "nothing is held back without a reason");
    }
}
