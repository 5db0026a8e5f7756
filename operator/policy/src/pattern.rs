//! Patterns on canonical paths, as rules and presets write them.

use std::str::FromStr;

use crate::path::{InvalidTarget, Path, is_plain};

/// A pattern: literal segments, `{name}` for any text within one, and `/**` at the end for any rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    segments: Vec<SegmentPattern>,
    /// Whether any rest may follow.
    is_open: bool,
}

/// Literals, between which there is text: one more of them than of placeholders.
#[derive(Clone, Debug, Eq, PartialEq)]
struct SegmentPattern {
    first: String,
    further: Vec<String>,
}

/// Why a pattern is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("{0}")]
    Target(#[from] InvalidTarget),
    #[error("it is to be written `{0}`")]
    NotCanonical(String),
    #[error("`**` stands alone, as the last segment")]
    Rest,
    #[error("a placeholder is `{{name}}`, with other text between two of them")]
    Placeholder,
}

impl PathPattern {
    pub fn matches(&self, path: &Path) -> bool {
        let mut segments = path.segments();
        let begins = self
            .segments
            .iter()
            .all(|pattern| segments.next().is_some_and(|segment| pattern.matches(segment)));
        begins && if self.is_open { segments.all(is_plain) } else { segments.next().is_none() }
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPattern;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        let segments = written.strip_prefix('/').ok_or(InvalidTarget::Relative)?;
        let (segments, is_open) = match segments.strip_suffix("**") {
            Some("") => return Ok(Self { segments: Vec::new(), is_open: true }),
            Some(before) => (before.strip_suffix('/').ok_or(InvalidPattern::Rest)?, true),
            None => (segments, false),
        };
        // What is left is a path once each placeholder stands for something.
        let parsed: Vec<SegmentPattern> = segments.split('/').map(str::parse).collect::<Result<_, _>>()?;
        let example =
            parsed.iter().fold(String::new(), |example, segment| example + "/" + &segment.example());
        let canonical = Path::parse(&example)?;
        if canonical.as_str() != example {
            return Err(InvalidPattern::NotCanonical(canonical.as_str().replace(EXAMPLE, "{…}")));
        }
        Ok(Self { segments: parsed, is_open })
    }
}

/// What a placeholder stands for while a pattern is looked at as a path.
const EXAMPLE: &str = "~~~";

impl SegmentPattern {
    fn matches(&self, segment: &str) -> bool {
        let Some((last, between)) = self.further.split_last() else { return segment == self.first };
        let inner = segment.strip_prefix(&*self.first).and_then(|rest| rest.strip_suffix(&**last));
        let Some(mut rest) = inner else { return false };
        // The first place at which a literal fits leaves the most to those that follow.
        for literal in between {
            let Some((text, after)) = split_at_literal(rest, literal) else { return false };
            if !is_text(text) {
                return false;
            }
            rest = after;
        }
        is_text(rest)
    }

    fn example(&self) -> String {
        self.further.iter().fold(self.first.clone(), |example, literal| example + EXAMPLE + literal)
    }
}

/// Splits around the first occurrence that leaves something before it.
fn split_at_literal<'a>(rest: &'a str, literal: &str) -> Option<(&'a str, &'a str)> {
    let place = rest.match_indices(literal).map(|(place, _)| place).find(|place| *place > 0)?;
    let (text, after) = rest.split_at(place);
    Some((text, after.strip_prefix(literal)?))
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && is_plain(text)
}

impl FromStr for SegmentPattern {
    type Err = InvalidPattern;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        if written.contains("**") {
            return Err(InvalidPattern::Rest);
        }
        let mut parts = written.split('{');
        let first = parts.next().unwrap_or_default().to_owned();
        let mut further = Vec::new();
        for part in parts {
            let (name, literal) = part.split_once('}').ok_or(InvalidPattern::Placeholder)?;
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            if !is_name || further.last().is_some_and(String::is_empty) {
                return Err(InvalidPattern::Placeholder);
            }
            further.push(literal.to_owned());
        }
        let has_brace = std::iter::once(&first).chain(&further).any(|literal| literal.contains('}'));
        if has_brace { Err(InvalidPattern::Placeholder) } else { Ok(Self { first, further }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_paths_segment_by_segment() {
        for (pattern, matched, not) in [
            ("/", vec!["/"], vec!["/a"]),
            (
                "/v1/messages",
                vec!["/v1/messages"],
                vec!["/v1/messages/", "/v1/messages/x", "/v1", "/V1/messages"],
            ),
            (
                "/a/{x}",
                vec!["/a/b", "/a/b:c", "/a/%C3%A9"],
                vec!["/a", "/a/", "/a/b/c", "/a/b;c", "/a/b%2Fc"],
            ),
            ("/a/{x}/c", vec!["/a/b/c"], vec!["/a//c", "/a/b", "/a/b/c/"]),
            ("/m/{x}:go", vec!["/m/a:go", "/m/a:b:go"], vec!["/m/:go", "/m/a:stop", "/m/a"]),
            ("/@{s}%2F{n}", vec!["/@a%2Fb"], vec!["/@a/b", "/@a%2F", "/@%2Fb", "/@a%2Fb%2Fc", "/a%2Fb"]),
            (
                "/{n}-{v}.tgz",
                vec!["/a-1.tgz", "/a-b-1.tgz"],
                vec!["/-1.tgz", "/a-.tgz", "/a1.tgz", "/a-1.tgz.exe"],
            ),
            ("/**", vec!["/", "/a", "/a/b/", "/a/b:c"], vec!["/a%2Fb", "/a/b%255C", "/a;b", "/a/%5Cb"]),
            ("/a/**", vec!["/a", "/a/", "/a/b/c"], vec!["/", "/b", "/ab"]),
        ] {
            let parsed: PathPattern = pattern.parse().unwrap();
            for path in matched {
                assert!(parsed.matches(&Path::parse(path).unwrap()), "{pattern} {path}");
            }
            for path in not {
                let path = Path::parse(path);
                assert!(!path.is_ok_and(|path| parsed.matches(&path)), "{pattern}");
            }
        }
    }

    #[test]
    fn a_pattern_that_could_never_match_is_none() {
        for pattern in [
            "", "a", "*", "/a/../b", "/a//b", "/a b", "/%7e", "/%2f", "/a**", "/**/a", "/a/**b", "/{}",
            "/{a", "/a}", "/{a}{b}", "/{A}", "/{a/b}", "/{{a}}", "/a?b", "/a#b",
        ] {
            assert!(pattern.parse::<PathPattern>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_in_another_spelling_says_how_it_is_written() {
        let error = "/%7ea/{x}".parse::<PathPattern>().unwrap_err();
        assert_eq!(error.to_string(), "it is to be written `/~a/{…}`");
    }
}
