//! Keeps a credential from coming back: a host may show what it was sent, in an echo, an error page or a header. Pure.

use std::{fmt::Write as _, sync::Arc};

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
    /// As it is, in hexadecimal digits, percent-encoded and in base64, wherever in a longer text it stands.
    pub fn of(credential: &str) -> Self {
        if credential.len() < MIN {
            return Self(Vec::new());
        }
        let bytes = credential.as_bytes();
        let mut spellings =
            vec![bytes.to_vec(), hex(bytes).into_bytes(), hex(bytes).to_uppercase().into_bytes()];
        let percent: String = bytes.iter().fold(String::new(), |mut text, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                text.push(char::from(*byte));
            } else {
                write!(text, "%{byte:02X}").unwrap_or_default();
            }
            text
        });
        spellings.push(percent.into_bytes());
        for offset in 0..3 {
            let middle = base64(bytes, offset);
            spellings.push(middle.replace('+', "-").replace('/', "_").into_bytes());
            spellings.push(middle.into_bytes());
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
        let begun = |spelling: &Finder<'_>| {
            let spelling = spelling.needle();
            let most = text.len().min(spelling.len().saturating_sub(1));
            (1..=most).rev().find(|length| text.ends_with(spelling.get(..*length).unwrap_or_default()))
        };
        self.0.iter().filter_map(begun).max().unwrap_or_default()
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

    /// What was held back until the end showed that it is harmless.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// The characters of base64 (RFC 4648 §4) that depend on nothing but `bytes`, where those begin at `offset` of a group of three.
fn base64(bytes: &[u8], offset: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    // A character has six bits; the first whole one begins where the offset's bytes leave off.
    let skipped = (6 - offset * 8 % 6) % 6;
    let characters = bits.get(skipped..).unwrap_or_default().chunks_exact(6);
    let character = |bits: &[bool]| {
        let index = bits.iter().fold(0, |index, bit| index << 1 | usize::from(*bit));
        char::from(ALPHABET.get(index).copied().unwrap_or_default())
    };
    characters.map(character).collect()
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
