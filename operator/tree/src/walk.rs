//! A project's tree on disk, without what its rules leave out.

use std::collections::BTreeSet;
use std::io;

use crate::confined::{Confined, Dir, Kind, Listed, Metadata};
use crate::entry::{SpecialKind, Target};
use crate::manifest::Manifest;
use crate::path::TreePath;
use crate::rules::{Rules, Verdict};

/// Something that stands in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: TreePath,
    pub kind: FoundKind,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundKind {
    Directory,
    File(Metadata),
    Symlink(Target),
    /// Something that cannot travel, or was not looked at.
    Special(SpecialKind),
}

/// Paths that belong to the tree although a rule leaves them out.
pub trait Pinned {
    /// Whether a path is one of them, though this is what the rules say about it.
    fn contains(&self, path: &TreePath, verdict: Verdict) -> bool;
    /// Whether one of them is inside `directory`, though this is what the rules say about it.
    fn has_inside(&self, directory: &TreePath, verdict: Verdict) -> bool;
}

/// What was uploaded stays in view whatever the rules in the pod say later.
impl Pinned for Manifest {
    fn contains(&self, path: &TreePath, _: Verdict) -> bool {
        self.contains(path)
    }

    fn has_inside(&self, directory: &TreePath, _: Verdict) -> bool {
        self.has_inside(directory)
    }
}

/// What somebody wants to send whatever the rules say, and what git tracks, unless a `.wsignore` says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub named: &'a BTreeSet<TreePath>,
    pub tracked: &'a BTreeSet<TreePath>,
}

impl Pinned for Wanted<'_> {
    fn contains(&self, path: &TreePath, verdict: Verdict) -> bool {
        self.named.contains(path) || verdict != Verdict::WsIgnored && self.tracked.contains(path)
    }

    fn has_inside(&self, directory: &TreePath, verdict: Verdict) -> bool {
        has_inside(self.named, directory)
            || verdict != Verdict::WsIgnored && has_inside(self.tracked, directory)
    }
}

fn has_inside(paths: &BTreeSet<TreePath>, directory: &TreePath) -> bool {
    let after = [directory.as_bytes(), b"/"].concat();
    let bounds = (std::ops::Bound::Excluded(after.as_slice()), std::ops::Bound::Unbounded);
    paths.range::<[u8], _>(bounds).next().is_some_and(|path| path.is_inside(directory))
}

/// Why a tree could not be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error("the project's folder could not be read")]
    Root(#[source] io::Error),
    #[error("the project has more than {0} files and folders")]
    TooMany(usize),
}

/// Everything in the tree, sorted; `.git` is left out at every depth, links are reported and not followed.
///
/// At most `limit` names are looked at.
pub fn walk(
    root: &Confined,
    rules: &mut Rules,
    pinned: &dyn Pinned,
    limit: usize,
) -> Result<Vec<Found>, WalkError> {
    let mut walker = Walker { rules, pinned, found: Vec::new(), folders: Vec::new(), left: limit };
    walker.folder(root.root(), &Folder { path: None, pinned_only: false }).map_err(WalkError::Root)?;
    while let Some(folder) = walker.folders.pop() {
        if walker.left == 0 {
            return Err(WalkError::TooMany(limit));
        }
        let Some(path) = &folder.path else { continue };
        // Opened by path and not kept open: a folder may have more folders in it than a process has handles.
        let listed = root.dir(path.as_bytes()).and_then(|directory| walker.folder(&directory, &folder));
        if listed.is_err() {
            walker.add(path.clone(), FoundKind::Special(SpecialKind::Unreadable));
        } else {
            walker.add(path.clone(), FoundKind::Directory);
        }
    }
    if walker.left == 0 {
        return Err(WalkError::TooMany(limit));
    }
    let mut found = walker.found;
    found.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(found)
}

struct Folder {
    path: Option<TreePath>,
    /// A rule leaves the folder out, but something pinned is in it.
    pinned_only: bool,
}

struct Walker<'a> {
    rules: &'a mut Rules,
    pinned: &'a dyn Pinned,
    found: Vec<Found>,
    folders: Vec<Folder>,
    left: usize,
}

enum Belongs {
    Yes,
    /// Only for what is pinned inside.
    Partly,
    No,
}

impl Walker<'_> {
    fn add(&mut self, path: TreePath, kind: FoundKind) {
        self.found.push(Found { path, kind });
    }

    fn folder(&mut self, directory: &Dir, folder: &Folder) -> io::Result<()> {
        for listed in directory.list()? {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                break;
            }
            if listed.name != b".git" {
                self.entry(directory, folder, &listed);
            }
        }
        Ok(())
    }

    fn entry(&mut self, directory: &Dir, folder: &Folder, listed: &Listed) {
        let Ok(path) = TreePath::child(folder.path.as_ref(), &listed.name) else {
            // The folder stands for what is in it: the path itself cannot be named.
            if let Some(folder) = &folder.path {
                self.add(folder.clone(), FoundKind::Special(SpecialKind::OversizedPath));
            }
            return;
        };
        let metadata = directory.metadata(&listed.name);
        let Some(kind) = listed.kind.or(metadata.as_ref().ok().map(|metadata| metadata.kind)) else { return };
        let belongs = self.belongs(&path, kind == Kind::Directory, folder.pinned_only);
        match (belongs, kind, metadata) {
            (Belongs::No, ..) => {}
            (Belongs::Yes, Kind::Directory, _) => {
                self.folders.push(Folder { path: Some(path), pinned_only: false });
            }
            (Belongs::Partly, ..) => self.folders.push(Folder { path: Some(path), pinned_only: true }),
            (Belongs::Yes, Kind::File, Ok(metadata)) if metadata.kind == Kind::File => {
                self.add(path, FoundKind::File(metadata));
            }
            (Belongs::Yes, Kind::Symlink, _) => match directory.read_link(&listed.name) {
                Ok(target) => self.add(path, FoundKind::Symlink(target)),
                Err(_) => self.add(path, FoundKind::Special(SpecialKind::Unreadable)),
            },
            (Belongs::Yes, Kind::Special(kind), _) => self.add(path, FoundKind::Special(kind)),
            (Belongs::Yes, Kind::File, _) => self.add(path, FoundKind::Special(SpecialKind::Unreadable)),
        }
    }

    fn belongs(&mut self, path: &TreePath, is_directory: bool, pinned_only: bool) -> Belongs {
        let verdict = if pinned_only { Verdict::GitIgnored } else { self.rules.verdict(path, is_directory) };
        if verdict == Verdict::Kept {
            return Belongs::Yes;
        }
        let belongs = self.pinned(path, is_directory, verdict);
        // Inside a folder that is left out, a `.wsignore` still has its say over what is pinned.
        if pinned_only && !matches!(belongs, Belongs::No) && self.rules.is_ws_ignored(path) {
            return self.pinned(path, is_directory, Verdict::WsIgnored);
        }
        belongs
    }

    fn pinned(&self, path: &TreePath, is_directory: bool, verdict: Verdict) -> Belongs {
        if self.pinned.contains(path, verdict) {
            if is_directory { Belongs::Partly } else { Belongs::Yes }
        } else if is_directory && self.pinned.has_inside(path, verdict) {
            Belongs::Partly
        } else {
            Belongs::No
        }
    }
}
