//! The tree against its baseline.

use std::collections::HashSet;
use std::io::{self, Read};
use std::time::Duration;

use super::heaviest::{Weighed, heaviest};
use super::{Change, Unsupported};
use crate::confined::{Confined, Metadata};
use crate::digest::{Digest, Hasher};
use crate::entry::{Entry, FileEntry, SpecialKind, Target};
use crate::limits::{Exceeded, Limits, Meter, target_bytes};
use crate::path::TreePath;
use crate::receive::{Received, Stamp};
use crate::rules::Rules;
use crate::walk::{Found, FoundKind, WalkError, walk};

/// Names looked at in the pod at most, whatever they are.
const WALK_LIMIT: usize = 5_000_000;
/// Files written this shortly before the baseline was complete are always hashed: a change in the same tick of the
/// kernel's clock would leave their stamp as it was.
const TICK: Duration = Duration::from_millis(50);

/// How a tree differs from its baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The manifest that these are changes of.
    pub base: Digest,
    /// By path.
    pub list: Vec<Change>,
    /// What cannot be brought back.
    pub unsupported: Vec<Unsupported>,
}

/// Why a tree could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error(
        "the changes are too large: {exceeded}; name in a .gitignore what need not come back, above all {heaviest}"
    )]
    TooLarge {
        exceeded: Exceeded,
        /// Where most of them are.
        heaviest: TreePath,
    },
}

/// Compares a tree with the baseline it started from.
///
/// New files that the tree's own ignore files leave out are no changes; what was uploaded is compared in any case.
/// Files are hashed unless their stamp proves that nobody wrote to them.
pub fn compare(base: &Received, root: &Confined, limits: &Limits) -> Result<Changes, CompareError> {
    let mut rules = Rules::new(root.clone());
    let found = walk(root, &mut rules, &base.manifest, WALK_LIMIT)?;
    let mut comparison = Comparison {
        base,
        root,
        meter: Meter::new(*limits),
        changes: Changes { base: base.manifest.digest(), list: Vec::new(), unsupported: Vec::new() },
    };
    if let Err((exceeded, last)) = comparison.all(&found) {
        let heaviest = heaviest(exceeded, comparison.weighed(&found)).unwrap_or(last);
        return Err(CompareError::TooLarge { exceeded, heaviest });
    }
    comparison.changes.list.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(comparison.changes)
}

/// The bound that was exceeded, and the path that exceeded it.
type Over = (Exceeded, TreePath);

struct Comparison<'a> {
    base: &'a Received,
    root: &'a Confined,
    meter: Meter,
    changes: Changes,
}

impl Comparison<'_> {
    fn all(&mut self, found: &[Found]) -> Result<(), Over> {
        let mut seen = HashSet::with_capacity(found.len());
        for found in found {
            self.entry(&found.path, &found.kind)?;
            seen.insert(&found.path);
        }
        let unread: HashSet<_> = self.changes.unsupported.iter().map(|unread| unread.path.clone()).collect();
        for (path, entry) in &self.base.manifest {
            // What is in a folder that could not be read is not known to be gone.
            let hidden = path.folders().any(|folder| unread.contains(folder));
            if !seen.contains(path) && !hidden {
                self.add(path, Some(entry.clone()), None)?;
            }
        }
        Ok(())
    }

    /// What was found to have changed so far, and everything that is new.
    fn weighed<'f>(&'f self, found: &'f [Found]) -> impl Iterator<Item = Weighed<'f>> {
        let changed = self.changes.list.iter().filter(|change| change.base.is_some()).map(|change| {
            let size = if let Some(Entry::File(file)) = &change.now { file.size } else { 0 };
            Weighed { path: &change.path, size, is_new: false }
        });
        let new = found.iter().filter(|found| !self.base.manifest.contains(&found.path)).map(|found| {
            let size = if let FoundKind::File(metadata) = &found.kind { metadata.size } else { 0 };
            Weighed { path: &found.path, size, is_new: true }
        });
        changed.chain(new)
    }

    fn entry(&mut self, path: &TreePath, kind: &FoundKind) -> Result<(), Over> {
        let base = self.base.manifest.get(path).cloned();
        let now = match kind {
            FoundKind::Directory => Ok(Entry::Directory),
            FoundKind::Symlink(target) => link(path, target),
            FoundKind::Special(kind) => Err(*kind),
            FoundKind::File(metadata) => match self.file(path, metadata, base.as_ref()) {
                Ok(file) => Ok(Entry::File(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return self.add(path, base, None),
                Err(_) => Err(SpecialKind::Unreadable),
            },
        };
        match now {
            Ok(now) => self.add(path, base, Some(now)),
            Err(kind) => {
                self.meter.admit(path, 0, 0).map_err(|exceeded| (exceeded, path.clone()))?;
                self.changes.unsupported.push(Unsupported { path: path.clone(), kind });
                Ok(())
            }
        }
    }

    fn add(&mut self, path: &TreePath, base: Option<Entry>, now: Option<Entry>) -> Result<(), Over> {
        if base == now {
            return Ok(());
        }
        let content = if let Some(Entry::File(file)) = &now { file.size } else { 0 };
        let targets = target_bytes(base.as_ref()) + target_bytes(now.as_ref());
        self.meter.admit(path, targets, content).map_err(|exceeded| (exceeded, path.clone()))?;
        self.changes.list.push(Change { path: path.clone(), base, now });
        Ok(())
    }

    fn file(&self, path: &TreePath, metadata: &Metadata, base: Option<&Entry>) -> io::Result<FileEntry> {
        let executable = metadata.is_executable();
        if let (Some(Entry::File(file)), Some((stamp, finished))) = (base, self.base.stamp(path)) {
            let untouched = *stamp == Stamp::of(metadata) && stamp.changed < finished.earlier(TICK);
            if untouched {
                return Ok(FileEntry { executable, ..*file });
            }
        }
        let (mut file, _) = self.root.parent_of(path)?.open(path.name())?;
        let mut hasher = Hasher::default();
        // A file that is being appended to has an end all the same.
        let size = io::copy(&mut (&mut file).take(metadata.size), &mut hasher)?;
        Ok(FileEntry { executable, size, digest: hasher.finish() })
    }
}

fn link(path: &TreePath, target: &Target) -> Result<Entry, SpecialKind> {
    if target.stays_inside(path) { Ok(Entry::Symlink(target.clone())) } else { Err(SpecialKind::OutsideLink) }
}
