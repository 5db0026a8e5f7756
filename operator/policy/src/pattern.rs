//! Patterns on canonical paths, as rules and presets write them.

use std::{fmt, str::FromStr};

use crate::path::{InvalidTarget, Path, is_plain};

/// A pattern: literal segments, `{name}` for any text within one, and `**` as a segment for any others: for any rest at the end, for
/// one or more before further segments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    written: String,
    before: Vec<SegmentPattern>,
    /// What follows `**`, if it has one.
    after: Option<Vec<SegmentPattern>>,
}

/// A literal, and placeholders that are each followed by a further one.
#[derive(Clone, Debug, Eq, PartialEq)]
struct SegmentPattern {
    first: String,
    further: Vec<Placeholder>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Placeholder {
    name: String,
    /// What follows it.
    literal: String,
}

/// Why a pattern is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("{0}")]
    Target(#[from] InvalidTarget),
    #[error("it is to be written `{0}`")]
    NotCanonical(String),
    #[error("`**` stands once, and alone as a segment")]
    Rest,
    #[error("a placeholder is `{{name}}`, with other text between two of them")]
    Placeholder,
}

/// Name under which the segments are found that `**` stands for.
pub const REST: &str = "**";

impl PathPattern {
    pub fn matches(&self, path: &Path) -> bool {
        self.walk(path, |_, _| ())
    }

    /// What each placeholder stands for in a path that matches, by its name; [`REST`]: one segment of `**`, in order.
    pub fn captured<'a>(&'a self, path: &'a Path) -> Option<Vec<(&'a str, &'a str)>> {
        let mut found = Vec::new();
        let matches = self.walk(path, |placeholder, text| found.push((placeholder, text)));
        matches.then_some(found)
    }

    /// The names of its placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        let segments = self.before.iter().chain(self.after.iter().flatten());
        let rest = self.after.as_ref().map(|_| REST);
        segments.flat_map(|segment| &segment.further).map(|placeholder| placeholder.name.as_str()).chain(rest)
    }

    /// Whether it matches; `seen` is told what each placeholder stands for, in no order but that of `**`, and in vain if not.
    fn walk<'a>(&'a self, path: &'a Path, mut seen: impl FnMut(&'a str, &'a str)) -> bool {
        let mut segments = path.segments();
        let begins = self
            .before
            .iter()
            .all(|pattern| segments.next().is_some_and(|segment| pattern.matches(segment, &mut seen)));
        let Some(after) = self.after.as_ref().filter(|_| begins) else {
            return begins && segments.next().is_none();
        };
        let ends = after
            .iter()
            .rev()
            .all(|pattern| segments.next_back().is_some_and(|segment| pattern.matches(segment, &mut seen)));
        let mut rest = 0;
        let is_plain = ends
            && segments.all(|segment| {
                rest += 1;
                seen(REST, segment);
                is_plain(segment)
            });
        is_plain && (after.is_empty() || rest > 0)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPattern;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        let path = written.strip_prefix('/').ok_or(InvalidTarget::Relative)?;
        let mut segments = path.split('/');
        let mut before = Vec::new();
        let mut is_open = false;
        for segment in segments.by_ref() {
            if segment == REST {
                is_open = true;
                break;
            }
            before.push(segment.parse()?);
        }
        let after = is_open.then(|| segments.map(str::parse).collect::<Result<Vec<_>, _>>()).transpose()?;
        // What is left is a path once each placeholder stands for something.
        let rest = is_open.then(|| EXAMPLE.to_owned());
        let example = before
            .iter()
            .map(SegmentPattern::example)
            .chain(rest)
            .chain(after.iter().flatten().map(SegmentPattern::example))
            .fold(String::new(), |example, segment| example + "/" + &segment);
        let canonical = Path::parse(&example)?;
        if canonical.as_str() != example {
            return Err(InvalidPattern::NotCanonical(canonical.as_str().replace(EXAMPLE, "{…}")));
        }
        Ok(Self { written: written.to_owned(), before, after })
    }
}

/// What a placeholder stands for while a pattern is looked at as a path.
const EXAMPLE: &str = "~~~";

impl SegmentPattern {
    fn matches<'a>(&'a self, segment: &'a str, seen: &mut impl FnMut(&'a str, &'a str)) -> bool {
        let Some((last, between)) = self.further.split_last() else { return segment == self.first };
        let inner = segment.strip_prefix(&*self.first).and_then(|rest| rest.strip_suffix(&*last.literal));
        let Some(mut rest) = inner else { return false };
        // The first place at which a literal fits leaves the most to those that follow.
        for Placeholder { name, literal } in between {
            let Some((text, after)) = split_at_literal(rest, literal) else { return false };
            if !is_text(text) {
                return false;
            }
            seen(name, text);
            rest = after;
        }
        seen(&last.name, rest);
        is_text(rest)
    }

    fn example(&self) -> String {
        let further = self.further.iter();
        further.fold(self.first.clone(), |example, placeholder| example + EXAMPLE + &placeholder.literal)
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
            let is_next_to_one = further.last().is_some_and(|before: &Placeholder| before.literal.is_empty());
            if !is_name || is_next_to_one || literal.contains('}') {
                return Err(InvalidPattern::Placeholder);
            }
            further.push(Placeholder { name: name.to_owned(), literal: literal.to_owned() });
        }
        if first.contains('}') { Err(InvalidPattern::Placeholder) } else { Ok(Self { first, further }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b09_a_pattern_matches_whole_paths_segment_by_segment() {
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
            (
                "/**/@v/{v}.zip",
                vec!["/m/@v/1.zip", "/x.example/m/v2/@v/v2.0.1.zip"],
                vec!["/@v/1.zip", "/m/@v/.zip", "/m/@v/1.mod", "/m%2Fn/@v/1.zip", "/m/@v/1.zip/x"],
            ),
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
    fn what_placeholders_stand_for_is_known() {
        for (pattern, path, expected) in [
            (
                "/{name}/-/{file}.tgz",
                "/left-pad/-/left-pad-1.3.0.tgz",
                Some(vec![("name", "left-pad"), ("file", "left-pad-1.3.0")]),
            ),
            ("/@{scope}%2F{name}", "/@acme%2Fshop", Some(vec![("scope", "acme"), ("name", "shop")])),
            (
                "/**/@v/{version}.zip",
                "/x.example/m/v2/@v/v2.0.1.zip",
                Some(vec![("version", "v2.0.1"), (REST, "x.example"), (REST, "m"), (REST, "v2")]),
            ),
            ("/{a}/{a}", "/b/c", Some(vec![("a", "b"), ("a", "c")])),
            ("/a", "/a", Some(vec![])),
            ("/{name}", "/a/b", None),
        ] {
            let (pattern, path) = (pattern.parse::<PathPattern>().unwrap(), Path::parse(path).unwrap());
            assert_eq!(pattern.captured(&path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_that_could_never_match_is_none() {
        for pattern in [
            "", "a", "*", "/a/../b", "/a//b", "/a b", "/%7e", "/%2f", "/a**", "/**/a/**", "/**/..", "/a/**b",
            "/{}", "/{a", "/a}", "/{a}{b}", "/{A}", "/{a/b}", "/{{a}}", "/a?b", "/a#b",
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
