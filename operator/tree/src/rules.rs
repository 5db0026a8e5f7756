//! Which paths a project's own ignore files leave out.
//!
//! `.gitignore` and `.wsignore` have git's pattern syntax and apply from their folder downwards. They are kept apart:
//! what git tracks is part of the project although a `.gitignore` matches it, but never although a `.wsignore` does.
//! Ignore files outside the project (of the user, of a parent folder) do not count, so that a project means the same on
//! every machine.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::confined::{Confined, Dir};
use crate::path::TreePath;

/// Longest ignore file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// What the rules say about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    /// Left out by a `.gitignore`, unless tracked.
    GitIgnored,
    /// Left out by a `.wsignore`.
    WsIgnored,
}

/// An ignore file that could not be used in full. What its rest would leave out is not left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleWarning {
    pub file: TreePath,
    pub reason: String,
}

/// The rules of a project, read folder by folder as they are asked for.
pub struct Rules {
    root: Confined,
    /// Patterns of the whole project that stand in no file of it, weaker than any that do.
    exclude: Gitignore,
    folders: HashMap<Vec<u8>, Rc<FolderRules>>,
    warnings: Vec<RuleWarning>,
}

#[derive(Default)]
struct FolderRules {
    git: Option<Gitignore>,
    ws: Option<Gitignore>,
}

impl Rules {
    /// The rules of the project in `root`.
    pub fn new(root: Confined) -> Self {
        Self { root, exclude: Gitignore::empty(), folders: HashMap::new(), warnings: Vec::new() }
    }

    /// Adds patterns for the whole project, as in `.git/info/exclude`.
    #[must_use]
    pub fn with_exclude(mut self, patterns: &[u8]) -> Self {
        let (exclude, _) = parse(patterns);
        self.exclude = exclude;
        self
    }

    /// What the rules say about a path whose folders are not left out.
    pub fn verdict(&mut self, path: &TreePath, is_directory: bool) -> Verdict {
        let mut git = None;
        let mut ws = None;
        // From the innermost folder outwards; the first pattern that matches decides.
        for folder in path.folders() {
            let rules = self.folder(folder);
            let name = inside(path, folder);
            git = git.or_else(|| rules.git.as_ref().and_then(|rules| matched(rules, name, is_directory)));
            ws = ws.or_else(|| rules.ws.as_ref().and_then(|rules| matched(rules, name, is_directory)));
        }
        git = git.or_else(|| matched(&self.exclude, path.to_path(), is_directory));
        match (ws, git) {
            (Some(true), _) => Verdict::WsIgnored,
            (_, Some(true)) => Verdict::GitIgnored,
            (Some(false) | None, Some(false) | None) => Verdict::Kept,
        }
    }

    /// Whether a `.wsignore` leaves out a path or a folder it is in.
    pub fn is_ws_ignored(&mut self, path: &TreePath) -> bool {
        let folders: Vec<_> = path.ancestors().collect();
        folders.iter().any(|folder| self.verdict(folder, true) == Verdict::WsIgnored)
            || self.verdict(path, false) == Verdict::WsIgnored
    }

    /// The ignore files that could not be used in full so far.
    pub fn warnings(&self) -> &[RuleWarning] {
        &self.warnings
    }

    fn folder(&mut self, folder: &[u8]) -> Rc<FolderRules> {
        if let Some(rules) = self.folders.get(folder) {
            return Rc::clone(rules);
        }
        let rules = Rc::new(self.read(folder));
        self.folders.insert(folder.to_vec(), Rc::clone(&rules));
        rules
    }

    fn read(&mut self, folder: &[u8]) -> FolderRules {
        let Ok(directory) = self.root.dir(folder) else { return FolderRules::default() };
        FolderRules {
            git: self.read_file(&directory, folder, ".gitignore"),
            ws: self.read_file(&directory, folder, ".wsignore"),
        }
    }

    fn read_file(&mut self, directory: &Dir, folder: &[u8], name: &str) -> Option<Gitignore> {
        let content = match read_bounded(directory, name) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.warn(folder, name, error.to_string());
                return None;
            }
        };
        let (rules, problem) = parse(&content);
        if let Some(problem) = problem {
            self.warn(folder, name, problem);
        }
        Some(rules)
    }

    fn warn(&mut self, folder: &[u8], name: &str, reason: String) {
        let folder = TreePath::parse(folder).ok();
        if let Ok(file) = TreePath::child(folder.as_ref(), name.as_bytes()) {
            self.warnings.push(RuleWarning { file, reason });
        }
    }
}

/// Reads an ignore file; a link is refused, as git does since 2.32.
fn read_bounded(directory: &Dir, name: &str) -> io::Result<Vec<u8>> {
    let (file, _) = directory.open(name.as_bytes())?;
    let mut content = Vec::new();
    if file.take(LONGEST + 1).read_to_end(&mut content)? as u64 > LONGEST {
        return Err(io::Error::other(format!("longer than {LONGEST} bytes")));
    }
    Ok(content)
}

/// Compiles patterns; also says what is wrong with the first line that is no pattern.
fn parse(content: &[u8]) -> (Gitignore, Option<String>) {
    let mut builder = GitignoreBuilder::new("");
    let mut problem = None;
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    for (number, line) in content.split(|&byte| byte == b'\n').enumerate() {
        let added = match std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)) {
            Ok(line) if says_nothing(line) => continue,
            Ok(line) => {
                builder.add_line(None, &as_git_reads(line)).map(|_| ()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = added {
            problem.get_or_insert(format!("line {}: {error}", number + 1));
        }
    }
    match builder.build() {
        Ok(rules) => (rules, problem),
        Err(error) => (Gitignore::empty(), Some(error.to_string())),
    }
}

/// Whether a line names nothing to git, as `!` alone and what ends in two slashes do. To the library they name something.
fn says_nothing(line: &str) -> bool {
    let pattern = line.trim_end_matches(' ');
    let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
    pattern.trim_matches('/').is_empty() || pattern.ends_with("//")
}

/// A pattern whose braces are signs like any other, as they are to git: the library takes them for alternatives.
fn as_git_reads(line: &str) -> Cow<'_, str> {
    if !line.contains(['{', '}']) {
        return Cow::Borrowed(line);
    }
    let mut read = String::with_capacity(line.len() + 2);
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\\' => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            '[' => class(rest).unwrap_or(1),
            _ => first.len_utf8(),
        };
        if matches!(first, '{' | '}') {
            read.push('\\');
        }
        let (sign, after) = rest.split_at(length);
        read.push_str(sign);
        rest = after;
    }
    Cow::Owned(read)
}

/// Length of the class that a pattern begins with. A `]` that stands first in it is of it.
fn class(pattern: &str) -> Option<usize> {
    let inner = pattern.strip_prefix('[')?;
    let inner = inner.strip_prefix(['!', '^']).unwrap_or(inner);
    let mut signs = inner.char_indices().skip(1);
    let (end, _) = signs.find(|(_, sign)| *sign == ']')?;
    Some(pattern.len() - inner.len() + end + 1)
}

fn matched(rules: &Gitignore, path: &Path, is_directory: bool) -> Option<bool> {
    match rules.matched(path, is_directory) {
        ignore::Match::None => None,
        ignore::Match::Ignore(_) => Some(true),
        ignore::Match::Whitelist(_) => Some(false),
    }
}

/// A path as seen from one of its folders.
fn inside<'a>(path: &'a TreePath, folder: &[u8]) -> &'a Path {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = path.as_bytes();
    let rest = bytes.strip_prefix(folder).unwrap_or(bytes);
    Path::new(std::ffi::OsStr::from_bytes(rest.strip_prefix(b"/").unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ignored(pattern: &str, path: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".gitignore"), pattern).unwrap();
        let mut rules = Rules::new(Confined::open(folder.path()).unwrap());
        let verdict = rules.verdict(&TreePath::parse(path.as_bytes()).unwrap(), false);
        assert_eq!(rules.warnings(), [], "{pattern}");
        verdict == Verdict::GitIgnored
    }

    #[test]
    fn a_line_that_names_nothing_takes_nothing_back() {
        for nothing in ["!", "!/", "!//", "! ", "/", "", "**//", "!**//", "!a//"] {
            assert!(is_ignored(&format!("*\n{nothing}\n"), "a/b"), "{nothing}");
            assert!(!is_ignored(nothing, "a/b"), "{nothing}");
        }
        assert!(!is_ignored("*\n!**", "a/b"));
    }

    #[test]
    fn braces_are_signs_like_any_other() {
        for (pattern, ignored, kept) in [
            ("{a,b}", "{a,b}", "a"),
            ("key{1}.pem", "key{1}.pem", "key1.pem"),
            ("x{y", "x{y", "xy"),
            ("x}y", "x}y", "xy"),
            ("\\{a}", "{a}", "a"),
            ("{é,*}", "{é,ü}", "é"),
            ("[{]a", "{a", "[{]a"),
            ("[]{]a}", "]a}", "]a"),
            ("[!{]}", "a}", "{}"),
        ] {
            assert!(is_ignored(pattern, ignored), "{pattern} {ignored}");
            assert!(!is_ignored(pattern, kept), "{pattern} {kept}");
        }
    }
}
