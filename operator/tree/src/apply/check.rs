//! What may be applied, and what stands there now.

use std::collections::HashMap;
use std::io;

use super::{ApplyError, Refusal};
use crate::changes::Change;
use crate::confined::{Confined, Dir, Kind};
use crate::digest::Hasher;
use crate::entry::{Entry, FileEntry};
use crate::fold::is_git_component;

/// What stands at a change's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What was uploaded: the change can be applied.
    Base,
    /// What the change leads to: nothing is left to do.
    Now,
    /// Something else: applying the change would lose it.
    Other,
}

/// Refuses what is never applied, whoever asks for it.
pub(super) fn refuse(change: &Change) -> Result<(), ApplyError> {
    let refused = |refusal| Err(ApplyError::Refused { path: change.path.clone(), refusal });
    if change.path.components().any(is_git_component) {
        return refused(Refusal::Git);
    }
    if let Some(Entry::Symlink(target)) = &change.now {
        if target.as_bytes().split(|&byte| byte == b'/').any(is_git_component) {
            return refused(Refusal::Git);
        }
        if !target.stays_inside(&change.path) {
            return refused(Refusal::OutsideLink);
        }
    }
    Ok(())
}

/// Looks at a change's path.
pub(super) fn standing(
    root: &Confined,
    change: &Change,
    chosen: &HashMap<&[u8], &Change>,
) -> Result<Standing, ApplyError> {
    let is_folder = |entry: &Option<Entry>| *entry == Some(Entry::Directory);
    let turns = |folder: &[u8]| {
        chosen.get(folder).is_some_and(|above| is_folder(&above.base) != is_folder(&above.now))
    };
    match look(root, change) {
        Ok(found) => Ok(compare(change, found.as_ref())),
        // A folder above that is still, or already, something else has nothing in it. Whether it is the right something
        // is for its own change to find out.
        Err(error) if is_linked_folder(&error) && change.path.folders().any(turns) => {
            Ok(compare(change, None))
        }
        Err(error) if is_linked_folder(&error) => {
            Err(ApplyError::Refused { path: change.path.clone(), refusal: Refusal::LinkedFolder })
        }
        Err(source) => Err(ApplyError::Failed { path: change.path.clone(), source }),
    }
}

/// Whether what stands at a name has the content that is expected there.
pub(super) fn holds(folder: &Dir, name: &[u8], expected: Option<&Entry>) -> io::Result<bool> {
    let found = entry(folder, name, |_| true)?;
    Ok(same_content(found.as_ref(), expected))
}

pub(super) fn is_linked_folder(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::NOTDIR))
}

fn look(root: &Confined, change: &Change) -> io::Result<Option<Entry>> {
    let folder = match root.parent_of(&change.path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let sizes = [&change.base, &change.now].map(|entry| match entry {
        Some(Entry::File(file)) => Some(file.size),
        Some(Entry::Directory | Entry::Symlink(_)) | None => None,
    });
    entry(&folder, change.path.name(), |size| sizes.contains(&Some(size)))
}

/// What stands at a name; a file is hashed only if its size is of interest.
fn entry(folder: &Dir, name: &[u8], interesting: impl Fn(u64) -> bool) -> io::Result<Option<Entry>> {
    let metadata = match folder.metadata(name) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hasher = Hasher::default();
    let (executable, mut size) = (metadata.is_executable(), metadata.size);
    match metadata.kind {
        Kind::Directory => return Ok(Some(Entry::Directory)),
        Kind::Symlink => return Ok(Some(Entry::Symlink(folder.read_link(name)?))),
        Kind::File if interesting(size) => size = io::copy(&mut folder.open(name)?.0, &mut hasher)?,
        // The digest of nothing with a size that nobody asked for: equal to no entry of the change.
        Kind::File | Kind::Special(_) => size = u64::MAX,
    }
    Ok(Some(Entry::File(FileEntry { executable, size, digest: hasher.finish() })))
}

fn compare(change: &Change, found: Option<&Entry>) -> Standing {
    if found == change.now.as_ref() {
        Standing::Now
    } else if same_content(found, change.base.as_ref()) {
        Standing::Base
    } else {
        Standing::Other
    }
}

/// Whether two entries are the same apart from an executable bit, which a checkout may have set otherwise.
fn same_content(left: Option<&Entry>, right: Option<&Entry>) -> bool {
    match (left, right) {
        (Some(Entry::File(left)), Some(Entry::File(right))) => {
            left.digest == right.digest && left.size == right.size
        }
        (left, right) => left == right,
    }
}
