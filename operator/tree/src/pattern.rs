//! Names that mean something, as data: patterns for tables of well-known files.

use crate::fold::folded_path;
use crate::path::TreePath;

/// A pattern for paths, written in lower case. It matches every spelling that some file system takes for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// The last component.
    Name(&'static str),
    /// Start of the last component.
    Prefix(&'static str),
    /// End of the last component.
    Suffix(&'static str),
    /// The last components.
    Tail(&'static str),
    /// Any component.
    Component(&'static str),
}

/// A path in the form that patterns are compared with.
#[derive(Clone, Debug)]
pub struct Folded(Vec<u8>);

impl Folded {
    /// Folds a path once for all patterns.
    pub fn new(path: &TreePath) -> Self {
        Self(folded_path(path.as_bytes()))
    }

    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// Whether a pattern matches the path.
    pub fn matches(&self, pattern: NamePattern) -> bool {
        match pattern {
            NamePattern::Name(name) => self.name() == name.as_bytes(),
            NamePattern::Prefix(start) => self.name().starts_with(start.as_bytes()),
            NamePattern::Suffix(end) => self.name().ends_with(end.as_bytes()),
            NamePattern::Tail(tail) => self
                .0
                .strip_suffix(tail.as_bytes())
                .is_some_and(|head| head.is_empty() || head.ends_with(b"/")),
            NamePattern::Component(wanted) => {
                self.0.split(|&byte| byte == b'/').any(|component| component == wanted.as_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_every_spelling_of_its_names() {
        let table = [
            (NamePattern::Name("makefile"), "sub/Makefile", true),
            (NamePattern::Name("makefile"), "makefile/x", false),
            (NamePattern::Prefix(".env."), ".ENV.local", true),
            (NamePattern::Suffix(".pth"), "a/B.PTH", true),
            (NamePattern::Suffix(".pth"), "b.pth.txt", false),
            (NamePattern::Tail(".docker/config.json"), "x/.docker/config.json", true),
            (NamePattern::Tail(".docker/config.json"), "x.docker/config.json", false),
            (NamePattern::Component(".vscode"), "a/.VSCode/tasks.json", true),
            (NamePattern::Component(".vscode"), ".vscode", true),
            (NamePattern::Component(".vscode"), ".vs\u{200b}code/x", true),
            (NamePattern::Component(".vscode"), "my.vscode/x", false),
        ];
        for (pattern, path, matches) in table {
            let folded = Folded::new(&TreePath::parse(path.as_bytes()).unwrap());
            assert_eq!(folded.matches(pattern), matches, "{pattern:?} {path}");
        }
    }
}
