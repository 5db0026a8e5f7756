//! Names that some file system takes for one and the same.

use std::collections::HashMap;

use ws_tree::{Confined, TreePath, fold::folded};

/// Among paths, those that are the same as another one, or are in a folder that is, but for the spelling.
pub struct Collisions<'a>(HashMap<&'a TreePath, TreePath>);

/// A path beside its folded components, each of which ends with a NUL: then all paths in a folder are neighbours when
/// sorted.
struct Folded<'a> {
    key: Vec<u8>,
    path: &'a TreePath,
}

impl<'a> Collisions<'a> {
    pub fn among(paths: impl Iterator<Item = &'a TreePath>) -> Self {
        let mut paths: Vec<_> = paths.map(Folded::new).collect();
        paths.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        let mut found = Self(HashMap::new());
        found.collect(&paths, 0, 0);
        found
    }

    /// What a path, or a folder that it is in, is called elsewhere.
    pub fn of(&self, path: &TreePath) -> Option<&TreePath> {
        self.0.get(path)
    }

    /// Looks at one component of paths whose earlier components, up to these lengths, are all the same.
    fn collect(&mut self, paths: &[Folded<'a>], length: usize, key_length: usize) {
        for alike in paths.chunk_by(|left, right| left.folded_at(key_length) == right.folded_at(key_length)) {
            let Some((first, name)) = alike.first().and_then(|first| Some((first, first.name_at(length)?)))
            else {
                continue;
            };
            let Some(second) = alike.iter().find(|other| other.name_at(length) != Some(name)) else {
                let key = first.folded_at(key_length).unwrap_or_default();
                self.collect(alike, length + name.len() + 1, key_length + key.len() + 1);
                continue;
            };
            for path in alike {
                let other = if path.name_at(length) == Some(name) { second } else { first };
                self.0.extend(other.up_to(length).map(|other| (path.path, other)));
            }
        }
    }
}

impl<'a> Folded<'a> {
    fn new(path: &'a TreePath) -> Self {
        let mut key = Vec::with_capacity(path.as_bytes().len() + 1);
        for component in path.components() {
            key.extend(folded(component));
            key.push(0);
        }
        Self { key, path }
    }

    /// The component that begins here; none after the last one.
    fn name_at(&self, start: usize) -> Option<&'a [u8]> {
        self.path.as_bytes().get(start..)?.split(|&byte| byte == b'/').next()
    }

    fn folded_at(&self, start: usize) -> Option<&[u8]> {
        self.key.get(start..).filter(|rest| !rest.is_empty())?.split(|&byte| byte == 0).next()
    }

    /// The path to the end of the component that begins here.
    fn up_to(&self, start: usize) -> Option<TreePath> {
        let end = start + self.name_at(start)?.len();
        TreePath::parse(self.path.as_bytes().get(..end)?).ok()
    }
}

/// What is in a folder, by folded names.
pub struct Names(HashMap<Vec<u8>, Vec<Vec<u8>>>);

impl Names {
    /// Nothing, if the folder is none or cannot be read.
    pub fn of(root: &Confined, folder: &[u8]) -> Self {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for listed in root.dir(folder).and_then(|folder| folder.list()).unwrap_or_default() {
            names.entry(folded(&listed.name)).or_default().push(listed.name);
        }
        Self(names)
    }

    /// Every name in the folder that may be taken for this one.
    pub fn alike(&self, name: &[u8]) -> &[Vec<u8>] {
        self.0.get(&folded(name)).map(Vec::as_slice).unwrap_or_default()
    }
}
