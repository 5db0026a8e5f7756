//! Names of packages, as the paths of a registry hold them.

use std::{fmt, str::FromStr};

use crate::pattern::{PathPattern, REST};

pub mod form;

/// How a package's name is made of the placeholders of a path: `@{scope}/{name}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PackageName {
    first: String,
    /// Placeholders, each with what follows it.
    further: Vec<(String, String)>,
}

/// Why a name is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a package's name is made of placeholders as `{{name}}`")]
pub struct InvalidName;

impl PackageName {
    /// The name of the package that a path asks for whose placeholders stand for this ([`PathPattern::captured`]).
    pub fn read(&self, captured: &[(&str, &str)]) -> Option<String> {
        self.further.iter().try_fold(self.first.clone(), |name, (placeholder, literal)| {
            Some(name + &text_of(captured, placeholder)? + literal)
        })
    }

    /// Whether a placeholder of this name is a part of it.
    pub fn holds(&self, placeholder: &str) -> bool {
        self.further.iter().any(|(name, _)| name == placeholder)
    }

    /// Whether all that it is made of is in the paths of a pattern.
    pub fn fits(&self, pattern: &PathPattern) -> bool {
        self.further.iter().all(|(name, _)| pattern.placeholders().any(|placeholder| placeholder == name))
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        self.further.iter().try_for_each(|(name, literal)| write!(f, "{{{name}}}{literal}"))
    }
}

impl FromStr for PackageName {
    type Err = InvalidName;

    fn from_str(written: &str) -> Result<Self, InvalidName> {
        let mut parts = written.split('{');
        let first = parts.next().unwrap_or_default().to_owned();
        let further = parts
            .map(|part| {
                let (name, literal) = part.split_once('}').ok_or(InvalidName)?;
                Ok((name.to_owned(), literal.to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if further.is_empty() { Err(InvalidName) } else { Ok(Self { first, further }) }
    }
}

/// What a placeholder stands for; [`REST`]: all segments of `**`. Of one that stands there twice, the last counts.
fn text_of(captured: &[(&str, &str)], placeholder: &str) -> Option<String> {
    let mut texts = captured.iter().filter(|(name, _)| *name == placeholder).map(|(_, text)| *text);
    if placeholder == REST {
        let segments: Vec<_> = texts.collect();
        return (!segments.is_empty()).then(|| segments.join("/"));
    }
    texts.next_back().map(str::to_owned)
}

/// Whether a text is one of these: exact ones, or what they begin with (`@acme/*`).
pub fn is_one_of(names: &[String], text: &str) -> bool {
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == name,
    })
}

/// A name as Python's registries compare them
/// ([specification](https://packaging.python.org/en/latest/specifications/name-normalization/)).
pub fn normalized(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut normalized, letter| {
        match letter {
            '-' | '_' | '.' if normalized.ends_with('-') => {}
            '-' | '_' | '.' => normalized.push('-'),
            letter => normalized.push(letter.to_ascii_lowercase()),
        }
        normalized
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Path;

    fn name(name: &str, pattern: &str, path: &str) -> Option<String> {
        let (name, pattern): (PackageName, PathPattern) = (name.parse().unwrap(), pattern.parse().unwrap());
        name.read(&pattern.captured(&Path::parse(path).unwrap())?)
    }

    #[test]
    fn a_path_tells_the_package() {
        for (template, pattern, path, expected) in [
            ("{name}", "/{name}/-/{file}.tgz", "/left-pad/-/left-pad-1.3.0.tgz", Some("left-pad")),
            ("@{scope}/{name}", "/@{scope}%2F{name}", "/@acme%2Fshop", Some("@acme/shop")),
            ("{**}", "/**/@v/{version}.zip", "/x.example/m/v2/@v/v2.0.1.zip", Some("x.example/m/v2")),
            ("{name}", "/{name}", "/a/b", None),
            ("{name}", "/p/**/{name}-{rest}", "/p/a/b/ws_shop-1.0-py3-none-any.whl", Some("ws_shop")),
        ] {
            assert_eq!(name(template, pattern, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_name_is_made_of_what_its_paths_have() {
        let fits =
            |name: &str, pattern: &str| name.parse::<PackageName>().unwrap().fits(&pattern.parse().unwrap());
        assert!(fits("@{scope}/{name}", "/@{scope}/{name}") && fits("{**}", "/**/@v/list"));
        assert!(!fits("@{scope}/{name}", "/{name}") && !fits("{**}", "/{name}"));
        for none in ["", "name", "{name"] {
            assert_eq!(none.parse::<PackageName>(), Err(InvalidName));
        }
    }

    #[test]
    fn a_normalized_name_has_one_spelling() {
        for name in ["ws-shop", "ws_shop", "WS.Shop", "Ws-._shop"] {
            assert_eq!(normalized(name), "ws-shop");
        }
        assert_eq!([normalized("acme_*"), normalized("wsshop")], ["acme-*", "wsshop"]);
    }

    #[test]
    fn a_star_stands_for_any_end() {
        let names = ["left-pad".to_owned(), "@acme/*".to_owned()];
        assert!(is_one_of(&names, "left-pad") && is_one_of(&names, "@acme/shop"));
        assert!(
            !is_one_of(&names, "left-pad2") && !is_one_of(&names, "@acme") && !is_one_of(&names, "acme/shop")
        );
    }
}
