//! The staging folder: new content before it has its place, old content after it lost it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;

use super::{ApplyError, Step};
use crate::changes::{Change, ChangeSet};
use crate::confined::{Confined, Dir, set_mode};
use crate::entry::Entry;
use crate::path::TreePath;

const PREFIX: &str = ".ws-pull-";
const PRIVATE: u32 = 0o700;
const EXECUTE: u32 = 0o111;

/// A folder in the project with one name for each step.
pub(super) struct Stage {
    parent: Dir,
    path: TreePath,
    dir: Dir,
}

impl Stage {
    /// Makes the folder and writes what the steps will put in place.
    pub(super) fn prepare(root: &Confined, set: &ChangeSet, steps: &[Step<'_>]) -> Result<Self, ApplyError> {
        let stage = Self::create(root).map_err(ApplyError::Stage)?;
        let filled = steps
            .iter()
            .enumerate()
            .try_for_each(|(number, step)| stage.fill(root, set, number, step.change));
        match filled {
            Ok(()) => Ok(stage),
            Err(error) => {
                stage.discard();
                Err(ApplyError::Stage(error))
            }
        }
    }

    fn create(root: &Confined) -> io::Result<Self> {
        let random = RandomState::new().build_hasher().finish();
        let path = TreePath::parse(format!("{PREFIX}{random:016x}").as_bytes()).map_err(io::Error::other)?;
        let parent = root.root().clone();
        parent.create_dir(path.as_bytes(), PRIVATE)?;
        let dir = parent.dir(path.as_bytes())?;
        Ok(Self { parent, path, dir })
    }

    fn fill(&self, root: &Confined, set: &ChangeSet, number: usize, change: &Change) -> io::Result<()> {
        match &change.now {
            None | Some(Entry::Directory) => Ok(()),
            Some(Entry::Symlink(target)) => self.dir.create_symlink(&Self::name(number), target),
            Some(Entry::File(new)) => {
                let mut content = set.content(change).ok_or(io::ErrorKind::NotFound)?;
                let mut file = self.dir.create(&Self::name(number), new.executable)?;
                io::copy(&mut content, &mut file)?;
                match permissions(root, change) {
                    Some(mode) => set_mode(&file, mode),
                    None => Ok(()),
                }
            }
        }
    }

    /// The name of a step's content.
    pub(super) fn name(number: usize) -> Vec<u8> {
        number.to_string().into_bytes()
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn path(&self) -> &TreePath {
        &self.path
    }

    /// Removes the folder. What cannot be removed stays: it is in nobody's way, and the result is the same.
    pub(super) fn discard(&self) {
        for listed in self.dir.list().unwrap_or_default() {
            self.dir.remove_file(&listed.name).unwrap_or_default();
        }
        self.parent.remove_dir(self.path.as_bytes()).unwrap_or_default();
    }
}

/// The permissions that a replaced file keeps, with the executable bit that the change asks for.
fn permissions(root: &Confined, change: &Change) -> Option<u32> {
    let (Some(Entry::File(base)), Some(Entry::File(now))) = (&change.base, &change.now) else { return None };
    let present = root.metadata(&change.path).ok()?.mode & 0o777;
    Some(match (base.executable, now.executable) {
        (true, true) | (false, false) => present,
        // Whoever may read it may execute it.
        (false, true) => present | (present & 0o444) >> 2,
        (true, false) => present & !EXECUTE,
    })
}
