//! The search for a credential in an answer: found in every spelling, in whichever pieces it comes, and nothing else is changed.

#![no_main]

use std::{fmt::Write as _, sync::Arc};

use arbitrary::Arbitrary;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

use crate::scrub::{Search, Spellings};

#[allow(dead_code)]
#[path = "../../operator/gateway/src/body/scrub.rs"]
mod scrub;

#[derive(Arbitrary, Debug)]
struct Answer {
    credential: String,
    before: Vec<u8>,
    shown: Shown,
    after: Vec<u8>,
    /// Lengths of the pieces.
    pieces: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Shown {
    Nothing,
    /// As many bytes of it.
    Part(u8),
    Itself,
    Hexadecimal {
        is_upper: bool,
    },
    /// Each letter in one of these ways, again and again.
    Escaped {
        ways: Vec<Escape>,
    },
    /// After a text.
    Base64 {
        text: Vec<u8>,
        then: Vec<u8>,
        is_url: bool,
    },
}

/// How a letter is shown, if it can be shown so.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Escape {
    None,
    Percent { is_upper: bool },
    Decimal,
    Hexadecimal { is_upper: bool },
    Json,
    Byte,
    Backslash,
}

fuzz_target!(|answer: Answer| {
    let Answer { credential, before, shown, after, pieces } = answer;
    let (middle, is_there) = spelled(&credential, &shown);
    let text = [before, middle, after].concat();
    let spellings = Arc::new(Spellings::of(&credential));
    let mut search = Search::new(spellings.clone());
    let (mut rest, mut passed, mut found) = (text.as_slice(), Vec::new(), false);
    for length in pieces.into_iter().map(usize::from).chain([usize::MAX]) {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        match search.push(&Bytes::copy_from_slice(piece)) {
            Ok(passes) => passed.extend(passes),
            Err(_) => {
                found = true;
                break;
            }
        }
    }
    // Six bytes are the shortest that is looked for.
    let is_sought = credential.len() >= 6;
    assert!(!is_sought || !contains(&passed, credential.as_bytes()), "it passed");
    if found {
        assert!(is_sought);
        assert!(spellings.are_in(&text), "it is there");
        assert!(text.starts_with(&passed));
    } else {
        passed.extend(search.finish());
        assert_eq!(passed, text, "all else passes unchanged");
        assert!(!spellings.are_in(&text), "pieces hide nothing");
    }
    assert!(found || !is_there || !is_sought, "a spelling was overlooked");
});

/// What a server shows, and whether the whole credential is in it.
fn spelled(credential: &str, shown: &Shown) -> (Vec<u8>, bool) {
    let bytes = credential.as_bytes();
    let each = |write: &dyn Fn(&mut String, u8)| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write(&mut text, *byte);
            text
        })
    };
    let spelled = match shown {
        Shown::Nothing => return (Vec::new(), false),
        Shown::Part(length) => {
            let part = bytes.get(..usize::from(*length)).unwrap_or(bytes);
            return (part.to_vec(), part.len() == bytes.len());
        }
        Shown::Itself => credential.to_owned(),
        Shown::Hexadecimal { is_upper: true } => {
            each(&|text, byte| write!(text, "{byte:02X}").expect("text"))
        }
        Shown::Hexadecimal { is_upper: false } => {
            each(&|text, byte| write!(text, "{byte:02x}").expect("text"))
        }
        Shown::Escaped { ways } => {
            let ways = ways.iter().copied().chain([Escape::None]).cycle();
            credential.chars().zip(ways).map(|(letter, way)| escaped(letter, way)).collect()
        }
        Shown::Base64 { text, then, is_url } => {
            let whole = [text, bytes, then].concat();
            if *is_url { BASE64_URL_SAFE_NO_PAD.encode(whole) } else { BASE64_STANDARD.encode(whole) }
        }
    };
    (spelled.into_bytes(), true)
}

fn escaped(letter: char, way: Escape) -> String {
    let mut bytes = [0; 4];
    let utf8 = letter.encode_utf8(&mut bytes).bytes();
    match way {
        Escape::Percent { is_upper: true } => utf8.map(|byte| format!("%{byte:02X}")).collect(),
        Escape::Percent { is_upper: false } => utf8.map(|byte| format!("%{byte:02x}")).collect(),
        Escape::Byte => utf8.map(|byte| format!("\\x{byte:02x}")).collect(),
        Escape::Decimal => format!("&#{};", u32::from(letter)),
        Escape::Hexadecimal { is_upper: true } => format!("&#x{:X};", u32::from(letter)),
        Escape::Hexadecimal { is_upper: false } => format!("&#x{:x};", u32::from(letter)),
        Escape::Json if u32::from(letter) <= 0xFFFF => format!("\\u{:04x}", u32::from(letter)),
        Escape::Backslash if letter.is_ascii_punctuation() => format!("\\{letter}"),
        Escape::None | Escape::Json | Escape::Backslash => letter.to_string(),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}
