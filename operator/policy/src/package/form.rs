//! What may stand in a path beside a package's name, where a rule names packages: as much as registries need, so that there is little
//! room for a message to whoever reads their logs.

use std::borrow::Cow;

use super::{PackageName, normalized};
use crate::pattern::REST;

/// The most bytes of what a placeholder stands for, and of all that `**` does. The longest are those of Python's wheels.
const LONGEST: usize = 128;
/// Beside letters and digits.
const MARKS: &[u8] = b"._-+~!:@";

/// What a path asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What its placeholders stand for.
    pub captured: &'a [(&'a str, &'a str)],
    /// How the name is made of them; none: the path tells no name.
    pub made: Option<&'a PackageName>,
    pub name: &'a str,
    pub is_normalized: bool,
}

impl<'a> Asked<'a> {
    /// The first placeholder that stands for something which no registry needs there.
    ///
    /// Some say more by their names: `{letter}`, `{start}` and `{next}` are the first letter of the package's name, its first two and
    /// the two after; `{file}` is the name without its scope, `-` and a version; `{version}` begins with a digit, or with `v` and
    /// one, and is no more than that in a source of Python's; `{hash}` is hexadecimal; `{number}` is one as trees of hashes have
    /// them. A part of the name that stands there twice is the same.
    pub fn misfit(&self) -> Option<&'a str> {
        let rest: usize =
            self.captured.iter().filter(|(name, _)| *name == REST).map(|(_, text)| text.len()).sum();
        if rest > LONGEST && !self.is_of_name(REST) {
            return Some(REST);
        }
        let misfit = self.captured.iter().find(|(placeholder, text)| !self.fits(placeholder, text));
        misfit.map(|(placeholder, _)| *placeholder)
    }

    fn fits(&self, placeholder: &str, text: &str) -> bool {
        let text = &*plain(text);
        if !is_short(text) {
            return false;
        }
        if self.is_of_name(placeholder) {
            return placeholder == REST || self.is_same_throughout(placeholder, text);
        }
        match placeholder {
            "letter" => self.has_between(0, 1, text),
            "start" => self.has_between(0, 2, text),
            "next" => self.has_between(2, 4, text),
            "file" => self.is_file(text),
            "version" => is_version(text) && (!self.is_normalized || is_one_version(text)),
            "hash" => text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "number" => is_number(text),
            _ => true,
        }
    }

    fn is_of_name(&self, placeholder: &str) -> bool {
        self.made.is_some_and(|name| name.holds(placeholder))
    }

    fn is_same_throughout(&self, placeholder: &str, text: &str) -> bool {
        let is_same = |other: &str| {
            if self.is_normalized { normalized(other) == normalized(text) } else { other == text }
        };
        let others = self.captured.iter().filter(|(name, _)| *name == placeholder);
        others.into_iter().all(|(_, other)| is_same(&plain(other)))
    }

    /// Registries that have folders for the beginnings of names write them in lower case.
    fn has_between(&self, start: usize, end: usize, text: &str) -> bool {
        self.name.get(start..end).is_some_and(|part| part.to_ascii_lowercase() == text)
    }

    fn is_file(&self, text: &str) -> bool {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        let version = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        version.is_some_and(is_version)
    }
}

/// A text in which those characters stand for themselves that some clients encode, as apt does `+`. Others stay encoded.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    text.replace("%2B", "+").replace("%3A", ":").replace("%21", "!").into()
}

fn is_short(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || MARKS.contains(&byte))
}

fn is_version(text: &str) -> bool {
    text.strip_prefix('v').unwrap_or(text).starts_with(|letter: char| letter.is_ascii_digit())
}

/// Whether a file of Python's that begins with a version is of the package that stands before it. Where `-` follows, the version may be
/// the next part of a longer name, except in what is built, whose names have none.
fn is_one_version(text: &str) -> bool {
    !text.contains('-') || [".whl", ".whl.metadata", ".egg"].iter().any(|end| text.ends_with(end))
}

/// As in the paths of a checksum database: `8`, `x001`, `234.p`, `data`.
fn is_number(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let digits = text.strip_prefix('x').unwrap_or(text);
    let digits = digits.strip_suffix(".p").unwrap_or(digits);
    text == "data" || (!digits.is_empty() && digits.len() <= 3 && digits.bytes().all(is_digit))
}
