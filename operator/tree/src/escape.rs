//! Untrusted bytes made fit to be shown to a person.
//!
//! A file name or a line of a file can carry terminal commands, text direction overrides (Trojan Source,
//! CVE-2021-42574), characters nobody sees, or bytes that are no text at all. Shown through [`Escaped`], none of them
//! reaches the terminal: `ESC` becomes `\x1b`, a stray byte `\xff`, any other invisible character `<U+202E>`.

use std::fmt::{self, Write as _};

/// Bytes whose `Display` contains only visible text.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Name,
    Line,
}

impl<'a> Escaped<'a> {
    /// A name or a path: a backslash is doubled, and what only looks like an invisible character is told from one, so that two
    /// different names never look the same.
    pub fn name(bytes: &'a [u8]) -> Self {
        Self { bytes, style: Style::Name }
    }

    /// A line of text: tabs and backslashes stay as they are, since a line is read and not typed back.
    pub fn line(bytes: &'a [u8]) -> Self {
        Self { bytes, style: Style::Line }
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes.utf8_chunks() {
            let text = chunk.valid();
            for (place, character) in text.char_indices() {
                let is_lookalike = text.get(place..).is_some_and(|rest| rest.starts_with("<U+"));
                if is_lookalike && self.style == Style::Name {
                    f.write_str("\\x3c")?;
                } else {
                    write_character(f, character, self.style)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn write_character(f: &mut fmt::Formatter<'_>, character: char, style: Style) -> fmt::Result {
    match character {
        '\\' if style == Style::Name => f.write_str("\\\\"),
        '\t' if style == Style::Line => f.write_char('\t'),
        control if control.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(control)),
        hidden if hidden.is_control() || is_invisible(hidden) => write!(f, "<U+{:04X}>", u32::from(hidden)),
        visible => f.write_char(visible),
    }
}

/// Whether a character changes how text is read without being seen: bidirectional controls, zero-width and blank
/// characters, line separators, tags, and the variation selectors that no emoji needs.
pub fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0e}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_visible_text_is_shown() {
        let table: &[(&[u8], &str, &str)] = &[
            (b"plain.rs", "plain.rs", "plain.rs"),
            ("größe 日本 🙂".as_bytes(), "größe 日本 🙂", "größe 日本 🙂"),
            (b"\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07", "\\x1b]52;c;aGk=\\x07"),
            (b"a\nb\rc\td", "a\\x0ab\\x0dc\\x09d", "a\\x0ab\\x0dc\td"),
            ("\u{9b}31m".as_bytes(), "<U+009B>31m", "<U+009B>31m"),
            (b"\x7f\xff\xc3", "\\x7f\\xff\\xc3", "\\x7f\\xff\\xc3"),
            ("a\u{202e}b\u{200b}c".as_bytes(), "a<U+202E>b<U+200B>c", "a<U+202E>b<U+200B>c"),
            ("\u{e0041}".as_bytes(), "<U+E0041>", "<U+E0041>"),
            (b"C:\\x", "C:\\\\x", "C:\\x"),
            (b"a<U+202E>", "a\\x3cU+202E>", "a<U+202E>"),
        ];
        for (bytes, name, line) in table {
            assert_eq!(Escaped::name(bytes).to_string(), *name);
            assert_eq!(Escaped::line(bytes).to_string(), *line);
        }
    }
}
