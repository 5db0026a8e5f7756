//! What a session leaves behind: everything that was not pulled, as one patch.

use std::path::Path;

use ws_tree::{
    Change, ChangeSet, Confined, Entry,
    apply::{Standing, standing},
};

use super::{
    classes::{Class, Classifier},
    open,
    patch::{Reader, write},
    sides::{Old, Side, Sides},
};
use crate::error::{Error, chain};

/// Ending of what would replace a file that was edited here.
const THEIRS: &str = ".ws-theirs";

/// A patch that `git apply` takes. Nothing is in it that is in the project already, and nothing of the rest is missing
/// but what its head names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub bytes: Vec<u8>,
    /// Paths that it changes.
    pub paths: usize,
}

/// Everything in `set` that the project does not have yet; nothing if that is nothing.
///
/// A file that was edited or removed here meanwhile has no common ground for a patch any more: the workspace's version
/// is added beside it under another name.
pub fn unpulled_patch(project: &Path, set: &ChangeSet) -> Result<Option<Patch>, Error> {
    let root = open(project)?;
    let mut collected = Collected { root: &root, set, head: Vec::new(), body: Vec::new(), paths: 0 };
    let mut classifier = Classifier::new(&root, &set.changes);
    for change in &set.changes {
        let class = classifier.classify(change);
        collected.add(change, &class).map_err(|error| {
            Error::user(format!("{} could not be put into the patch: {}", change.path, chain(&error)))
        })?;
    }
    for unsupported in &set.unsupported {
        collected.note(&format!("not in this patch: {} ({})", unsupported.path, unsupported.kind));
    }
    if collected.paths == 0 {
        return Ok(None);
    }
    let mut bytes = collected.head;
    bytes.extend_from_slice(&collected.body);
    Ok(Some(Patch { bytes, paths: collected.paths }))
}

struct Collected<'a> {
    root: &'a Confined,
    set: &'a ChangeSet,
    head: Vec<u8>,
    body: Vec<u8>,
    paths: usize,
}

impl Collected<'_> {
    fn add(&mut self, change: &Change, class: &Class) -> std::io::Result<()> {
        match class {
            Class::Never(reason) => {
                self.note(&format!("not in this patch: {} ({reason})", change.path));
                return Ok(());
            }
            Class::RunsHere(reason) => self.note(&format!("careful with {}: {reason}", change.path)),
            Class::OddName(reason) => self.note(&format!("careful with {}: {reason}", change.path)),
            Class::Safe => {}
        }
        if standing(self.root, change)? == Standing::Now {
            return Ok(());
        }
        let Sides { old, new } = Sides::load(self.root, self.set, change)?;
        match (old, new) {
            // A folder alone is nothing that git knows.
            (Old::Nothing, None) => {}
            (Old::Nothing, Some(new)) => self.write(change.path.as_bytes(), None, Some(&new)),
            (Old::Here(old), new) => self.write(change.path.as_bytes(), Some(&old), new.as_ref()),
            (Old::Lost, Some(new)) => {
                let beside = self.beside(change);
                self.note(&format!(
                    "changed on both sides: {}; the workspace's version is added beside it",
                    change.path
                ));
                self.write(&beside, None, Some(&new));
            }
            (Old::Lost, None) => {
                if change.now != Some(Entry::Directory) {
                    self.note(&format!(
                        "not in this patch: {} was removed there and changed here",
                        change.path
                    ));
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, path: &[u8], old: Option<&Side>, new: Option<&Side>) {
        write(&mut self.body, Reader::Git, path, old, new);
        self.paths += 1;
    }

    /// A name beside a change's path that nothing has yet.
    fn beside(&self, change: &Change) -> Vec<u8> {
        let folder = self.root.parent_of(&change.path);
        let mut name = [change.path.name(), THEIRS.as_bytes()].concat();
        while folder.as_ref().is_ok_and(|folder| folder.metadata(&name).is_ok()) {
            name.push(b'~');
        }
        let (above, _) = change.path.split();
        if above.is_empty() { name } else { [above, b"/", &name].concat() }
    }

    /// A line before the first change; git skips those.
    fn note(&mut self, text: &str) {
        self.head.extend_from_slice(b"# ");
        self.head.extend_from_slice(text.as_bytes());
        self.head.push(b'\n');
    }
}
