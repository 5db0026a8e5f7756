//! Keeps a credential from coming back: a host may show what it was sent, in an echo, an error page or a header. Pure.
//!
//! It is found as it is, in hexadecimal digits and in base64, and in each of these with any of its signs escaped: no two libraries
//! escape the same ones.

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine as _};
use bytes::{Bytes, BytesMut};
use memchr::{memchr3_iter, memmem::Finder};

/// Shorter ones are found in anything.
const MIN: usize = 6;
/// The longest reference of HTML that is read, without its `&` and its `;`: `#0000000043`.
const MAX_REFERENCE: usize = 11;

/// The signs that have names in HTML ([list](https://html.spec.whatwg.org/multipage/named-characters.html)), as far as a header
/// can hold them.
const NAMED: &[(&str, char)] = &[
    ("AMP", '&'),
    ("GT", '>'),
    ("Hat", '^'),
    ("LT", '<'),
    ("QUOT", '"'),
    ("UnderBar", '_'),
    ("amp", '&'),
    ("apos", '\''),
    ("ast", '*'),
    ("bsol", '\\'),
    ("colon", ':'),
    ("comma", ','),
    ("commat", '@'),
    ("dollar", '$'),
    ("equals", '='),
    ("excl", '!'),
    ("grave", '`'),
    ("gt", '>'),
    ("lbrace", '{'),
    ("lbrack", '['),
    ("lcub", '{'),
    ("lowbar", '_'),
    ("lpar", '('),
    ("lsqb", '['),
    ("lt", '<'),
    ("midast", '*'),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("plus", '+'),
    ("quest", '?'),
    ("quot", '"'),
    ("rbrace", '}'),
    ("rbrack", ']'),
    ("rcub", '}'),
    ("rpar", ')'),
    ("rsqb", ']'),
    ("semi", ';'),
    ("sol", '/'),
    ("verbar", '|'),
    ("vert", '|'),
];

/// A credential in the spellings in which servers show what they were sent.
#[derive(Debug)]
pub struct Spellings {
    plain: Vec<Finder<'static>>,
    /// Where a byte stands in them: an escape that says it is compared there alone.
    places: Vec<Vec<Place>>,
}

/// Number of a spelling, and of a byte of it.
type Place = (usize, usize);

/// Looks for a credential in what comes in pieces.
#[derive(Debug)]
pub struct Search {
    spellings: Arc<Spellings>,
    /// The end of what came, which may be the beginning of the credential.
    held: BytesMut,
    /// Whether that is half of it.
    is_close: bool,
}

/// The credential was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found;

/// What a text ends with that may be the beginning of the credential.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    /// Bytes of the text.
    bytes: usize,
    /// Whether it is half of the credential.
    is_half: bool,
}

/// How far a text follows a spelling.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Followed {
    Not,
    /// To its own end, which is after so many bytes of the spelling.
    Along(usize),
    Whole,
}

/// What a text begins with in place of something else.
#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    /// The text ends before it does.
    Cut,
    /// So many bytes for these.
    Of(Sign, usize),
}

/// What is escaped: a byte, or a letter in UTF-8.
#[derive(Clone, Copy, Debug)]
struct Sign {
    bytes: [u8; 4],
    length: usize,
}

impl Spellings {
    /// As it is, in hexadecimal digits, and in base64, wherever in a longer text it stands. What is in base64 itself, as that of
    /// HTTP's Basic scheme (RFC 7617), is looked for as what it says too.
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
            // A server that takes each byte of a header for a letter (ISO 8859-1) shows other ones.
            if text.len() >= MIN && !text.is_ascii() {
                let misread: String = text.bytes().map(char::from).collect();
                spellings.push(misread.into_bytes());
            }
        }
        spellings.sort_unstable();
        spellings.dedup();
        let mut places = vec![Vec::new(); 256];
        for (number, spelling) in spellings.iter().enumerate() {
            for (done, byte) in spelling.iter().enumerate() {
                if let Some(places) = places.get_mut(usize::from(*byte)) {
                    places.push((number, done));
                }
            }
        }
        let plain = spellings.iter().map(|spelling| Finder::new(spelling).into_owned()).collect();
        Self { plain, places }
    }

    /// Whether the credential is in there.
    pub fn are_in(&self, text: &[u8]) -> bool {
        self.look(text).is_err()
    }

    /// Looks for the credential; if it is not there, for the beginning of it at the end.
    fn look(&self, text: &[u8]) -> Result<Begun, Found> {
        if self.plain.iter().any(|spelling| spelling.find(text).is_some()) {
            return Err(Found);
        }
        let mut begun = Begun::default();
        for spelling in self.spellings() {
            let length = begun_in(spelling, text);
            begun.note(length, length, spelling);
        }
        for place in memchr3_iter(b'%', b'&', b'\\', text) {
            self.look_around(text.split_at(place), &mut begun)?;
        }
        Ok(begun)
    }

    /// Looks for the credential with its first escape between two parts of a text.
    fn look_around(&self, (before, from): (&[u8], &[u8]), begun: &mut Begun) -> Result<(), Found> {
        let mut follow = |(number, done): Place| {
            let Some(spelling) = self.plain.get(number).map(Finder::needle) else { return Ok(()) };
            let (plain, rest) = spelling.split_at(done);
            if before.ends_with(plain) {
                match followed(rest, from) {
                    Followed::Not => (),
                    Followed::Along(more) => begun.note(done + from.len(), done + more, spelling),
                    Followed::Whole => return Err(Found),
                }
            }
            Ok(())
        };
        match Escape::of(from) {
            Escape::None => Ok(()),
            // It may say anything.
            Escape::Cut => self.places.iter().flatten().copied().try_for_each(follow),
            Escape::Of(sign, _) => self.places_of(sign).try_for_each(&mut follow),
        }
    }

    fn spellings(&self) -> impl Iterator<Item = &[u8]> {
        self.plain.iter().map(Finder::needle)
    }

    /// Where the sign's first byte stands.
    fn places_of(&self, sign: Sign) -> impl Iterator<Item = Place> {
        let first = sign.as_bytes().first().and_then(|byte| self.places.get(usize::from(*byte)));
        first.into_iter().flatten().copied()
    }
}

impl Search {
    pub fn new(spellings: Arc<Spellings>) -> Self {
        Self { spellings, held: BytesMut::new(), is_close: false }
    }

    /// Whether the credential is in a text that is whole.
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.spellings.are_in(text)
    }

    /// Takes a piece; what may be passed on by now.
    pub fn push(&mut self, piece: &Bytes) -> Result<Bytes, Found> {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let begun = self.spellings.look(&text)?;
        self.held = text.split_off(text.len() - begun.bytes);
        self.is_close = begun.is_half;
        Ok(text.freeze())
    }

    /// Whether what came ends with half of the credential, or more: for who cannot hold it back.
    pub fn is_close(&self) -> bool {
        self.is_close
    }

    /// What was held back until the end showed that it is harmless.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }
}

impl Begun {
    /// Takes note of the beginning of a spelling that so many bytes of the text are.
    fn note(&mut self, bytes: usize, of_spelling: usize, spelling: &[u8]) {
        self.bytes = self.bytes.max(bytes);
        self.is_half |= of_spelling >= (spelling.len() / 2).max(MIN - 1);
    }
}

impl Escape {
    /// What URLs (RFC 3986 §2.1), JSON (RFC 8259 §7), HTML and programming languages write for a sign.
    fn of(text: &[u8]) -> Self {
        match text {
            [b'%', digits @ ..] => Self::hex(1, digits, 2, Sign::of_byte),
            [b'\\', b'x', digits @ ..] => Self::hex(2, digits, 2, Sign::of_byte),
            [b'\\', b'u', digits @ ..] => Self::hex(2, digits, 4, Sign::of_letter),
            [b'\\', sign, ..] if sign.is_ascii_punctuation() => {
                Self::as_far(Sign::of_byte((*sign).into()), 2)
            }
            [b'\\'] => Self::Cut,
            [b'&', rest @ ..] => Self::reference(rest),
            _ => Self::None,
        }
    }

    /// So many hexadecimal digits, behind a mark of so many bytes.
    fn hex(mark: usize, digits: &[u8], count: usize, sign: fn(u32) -> Option<Sign>) -> Self {
        let digits = digits.get(..count).unwrap_or(digits);
        match number(digits, 16) {
            Some(_) if digits.len() < count => Self::Cut,
            number => Self::as_far(number.and_then(sign), mark + count),
        }
    }

    /// A reference of HTML (<https://html.spec.whatwg.org/multipage/syntax.html#character-references>).
    fn reference(rest: &[u8]) -> Self {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
        let name = rest.iter().take(MAX_REFERENCE).take_while(|byte| is_of_name(byte)).count();
        match rest.get(name) {
            Some(b';') => Self::as_far(rest.get(..name).and_then(Sign::referred), name + 2),
            None => Self::Cut,
            Some(_) => Self::None,
        }
    }

    fn as_far(sign: Option<Sign>, length: usize) -> Self {
        sign.map_or(Self::None, |sign| Self::Of(sign, length))
    }
}

impl Sign {
    fn of_byte(number: u32) -> Option<Self> {
        Some(Self { bytes: [u8::try_from(number).ok()?, 0, 0, 0], length: 1 })
    }

    fn of_letter(number: u32) -> Option<Self> {
        let mut bytes = [0; 4];
        let length = char::from_u32(number)?.encode_utf8(&mut bytes).len();
        Some(Self { bytes, length })
    }

    /// What a reference of HTML refers to.
    fn referred(name: &[u8]) -> Option<Self> {
        Self::of_letter(match name {
            [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
            [b'#', digits @ ..] => number(digits, 10)?,
            name => NAMED.iter().find(|(known, _)| known.as_bytes() == name)?.1.into(),
        })
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Follows a text along a spelling, in which each sign may be escaped.
fn followed(spelling: &[u8], text: &[u8]) -> Followed {
    let (mut open, mut tried, mut furthest) = (vec![(0, 0)], HashSet::new(), Followed::Not);
    // In two ways at once, where a sign of the spelling is one that escapes begin with.
    while let Some((done, read)) = open.pop() {
        let rest = spelling.get(done..).unwrap_or_default();
        let Some(sign) = rest.first() else { return Followed::Whole };
        let left = text.get(read..).unwrap_or_default();
        if !tried.insert((done, read)) {
            continue;
        }
        if left.is_empty() {
            furthest = furthest.max(Followed::Along(done));
        }
        if left.first() == Some(sign) {
            open.push((done + 1, read + 1));
        }
        match Escape::of(left) {
            Escape::Cut => furthest = furthest.max(Followed::Along(done)),
            Escape::Of(sign, length) if rest.starts_with(sign.as_bytes()) => {
                open.push((done + sign.length, read + length));
            }
            Escape::Of(..) | Escape::None => (),
        }
    }
    furthest
}

/// A number in these digits, and nothing else.
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let add = |sum: u32, digit: &u8| sum.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?);
    digits.iter().try_fold(0, add)
}

/// Adds the spellings of these bytes.
fn spell(bytes: &[u8], spellings: &mut Vec<Vec<u8>>) {
    spellings.extend([bytes.to_vec(), hex(bytes).into_bytes(), hex(bytes).to_uppercase().into_bytes()]);
    for offset in 0..3 {
        let middle = base64(bytes, offset);
        spellings.push(middle.replace('+', "-").replace('/', "_").into_bytes());
        spellings.push(middle.into_bytes());
    }
}

/// Bytes at the end of a text that a spelling begins with.
fn begun_in(spelling: &[u8], text: &[u8]) -> usize {
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
mod tests;
