//! The one form a path has inside this program: relative, validated, raw bytes.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::escape::Escaped;

/// A validated path relative to a project's root, in raw bytes.
///
/// Its components are non-empty, free of NUL and never `.` or `..`; it does not start or end with `/`. It is at most
/// [`TreePath::MAX_BYTES`] long and [`TreePath::MAX_DEPTH`] deep. Order is the order of the bytes, so a directory comes
/// before everything in it. `Display` is safe for terminals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Box<[u8]>);

/// Why bytes are not a path inside a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path is longer than {} bytes", TreePath::MAX_BYTES)]
    TooLong,
    #[error("the path is deeper than {} folders", TreePath::MAX_DEPTH)]
    TooDeep,
    #[error("the path is absolute")]
    Absolute,
    #[error("the path has an empty component")]
    EmptyComponent,
    #[error("the path has a component `.` or `..`")]
    DotComponent,
    #[error("the path has a component longer than {} bytes", TreePath::MAX_COMPONENT)]
    LongComponent,
    #[error("the path contains a NUL byte")]
    Nul,
}

impl TreePath {
    /// Longest path in bytes (Linux `PATH_MAX`).
    pub const MAX_BYTES: usize = 4096;
    /// Longest component in bytes (`NAME_MAX`).
    pub const MAX_COMPONENT: usize = 255;
    /// Most components.
    pub const MAX_DEPTH: usize = 255;

    /// Validates `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        if bytes.starts_with(b"/") {
            return Err(PathError::Absolute);
        }
        let mut depth = 0;
        for component in bytes.split(|&byte| byte == b'/') {
            check_component(component)?;
            depth += 1;
        }
        if depth > Self::MAX_DEPTH {
            return Err(PathError::TooDeep);
        }
        Ok(Self(bytes.into()))
    }

    /// The path `name` has inside `directory`; `None` is the root.
    pub fn child(directory: Option<&Self>, name: &[u8]) -> Result<Self, PathError> {
        match directory {
            None => Self::parse(name),
            Some(directory) => Self::parse(&[directory.as_bytes(), b"/", name].concat()),
        }
    }

    /// The raw bytes, components separated by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the standard library spells it, still relative to the root.
    pub fn to_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The components, outermost first; there is at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }

    /// The folder's bytes (empty for the root) and the name in it.
    pub fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|&byte| byte == b'/') {
            None => (b"", &self.0),
            Some(slash) => {
                let (directory, name) = self.0.split_at(slash);
                (directory, name.get(1..).unwrap_or_default())
            }
        }
    }

    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.split().1
    }

    /// The folder this path is in, unless that is the root.
    pub fn parent(&self) -> Option<Self> {
        let directory = self.split().0;
        (!directory.is_empty()).then(|| Self(directory.into()))
    }

    /// The folders this path is in, outermost first, without the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        let slashes = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.filter_map(|(end, _)| self.0.get(..end)).map(|bytes| Self(bytes.into()))
    }

    /// The bytes of the folders this path is in, innermost first; the last is the root, which is empty.
    pub fn folders(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(self.as_bytes());
        std::iter::from_fn(move || {
            let path = rest.filter(|path| !path.is_empty())?;
            let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or_default();
            rest = path.get(..end);
            rest
        })
    }

    /// Whether this path is somewhere inside `directory`.
    pub fn is_inside(&self, directory: &Self) -> bool {
        self.0.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
    }
}

fn check_component(component: &[u8]) -> Result<(), PathError> {
    match component {
        b"" => Err(PathError::EmptyComponent),
        b"." | b".." => Err(PathError::DotComponent),
        long if long.len() > TreePath::MAX_COMPONENT => Err(PathError::LongComponent),
        nul if nul.contains(&0) => Err(PathError::Nul),
        _ => Ok(()),
    }
}

/// Sound because the derived order, equality and hash are those of the bytes.
impl Borrow<[u8]> for TreePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::name(&self.0).fmt(f)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_accepted() {
        let long = [b'a'; 256];
        let deep = [b"a".as_slice(); 256].join(&b'/');
        let longest = [[b'a'; 255].as_slice(); 17].join(&b'/');
        let table: &[(&[u8], PathError)] = &[
            (b"", PathError::Empty),
            (b"/", PathError::Absolute),
            (b"/etc/passwd", PathError::Absolute),
            (b"a//b", PathError::EmptyComponent),
            (b"a/", PathError::EmptyComponent),
            (b".", PathError::DotComponent),
            (b"..", PathError::DotComponent),
            (b"../a", PathError::DotComponent),
            (b"a/../../b", PathError::DotComponent),
            (b"a/./b", PathError::DotComponent),
            (b"a\0b", PathError::Nul),
            (&long, PathError::LongComponent),
            (&deep, PathError::TooDeep),
            (&longest, PathError::TooLong),
        ];
        for (bytes, error) in table {
            assert_eq!(TreePath::parse(bytes), Err(*error), "{}", Escaped::name(bytes));
        }
        for good in [b"a".as_slice(), b"a/b", b"...", b"..a", b"\xff\xfe", b" ", b"a\nb", b"C:\\x"] {
            assert_eq!(TreePath::parse(good).unwrap().as_bytes(), good);
        }
    }

    #[test]
    fn a_path_knows_its_folders() {
        let path = TreePath::parse(b"a/b/c").unwrap();
        assert_eq!(path.split(), (b"a/b".as_slice(), b"c".as_slice()));
        assert_eq!(path.parent(), Some(TreePath::parse(b"a/b").unwrap()));
        let ancestors: Vec<_> = path.ancestors().map(|path| path.to_string()).collect();
        assert_eq!(ancestors, ["a", "a/b"]);
        assert_eq!(path.folders().collect::<Vec<_>>(), [b"a/b".as_slice(), b"a", b""]);
        assert!(path.is_inside(&TreePath::parse(b"a").unwrap()));
        assert!(!path.is_inside(&TreePath::parse(b"a/b/c").unwrap()));
        assert!(!TreePath::parse(b"ab").unwrap().is_inside(&TreePath::parse(b"a").unwrap()));
    }

    #[test]
    fn a_folder_sorts_before_what_is_in_it() {
        let mut paths = ["a/b", "a-b", "a", "a/b/c"].map(|path| TreePath::parse(path.as_bytes()).unwrap());
        paths.sort();
        assert_eq!(paths.map(|path| path.to_string()), ["a", "a-b", "a/b", "a/b/c"]);
    }
}
