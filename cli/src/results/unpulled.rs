//! What a session leaves behind: everything that was not pulled, as one patch.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use ws_tree::{
    Change, ChangeSet, Confined, Entry,
    apply::{Standing, standing},
};

use super::{
    classes::{Class, Classifier},
    left::{altered, left_there},
    open,
    patch::{Reader, write},
    sides::{Old, Side, Sides},
};
use crate::error::{Error, chain};

/// Ending of what would replace a file that was edited here.
const THEIRS: &str = ".ws-theirs";

/// What became of the changes that the project does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpulled {
    /// Paths that the patch changes.
    pub paths: usize,
    /// What the workspace has and the patch has not, or not as it should be, each with the reason; escaped.
    pub missing: Vec<String>,
}

/// Writes everything in `set` that the project does not have yet as a patch that `git apply` takes.
///
/// A file that was edited or removed here meanwhile has no common ground for a patch any more: the workspace's version
/// is added beside it under another name.
pub fn unpulled_patch(project: &Path, set: &ChangeSet, out: &mut dyn Write) -> Result<Unpulled, Error> {
    let root = open(project)?;
    let mut writer = Writer { root: &root, set, out: BufWriter::new(out), unpulled: Unpulled::default() };
    let mut classifier = Classifier::new(&root, &set.changes);
    for change in &set.changes {
        let class = classifier.classify(change);
        writer.add(change, &class).map_err(|error| {
            Error::user(format!("{} could not be put into the patch: {}", change.path, chain(&error)))
        })?;
    }
    writer.finish().map_err(|error| Error::user(format!("the patch could not be written: {error}")))
}

struct Writer<'a> {
    root: &'a Confined,
    set: &'a ChangeSet,
    out: BufWriter<&'a mut dyn Write>,
    unpulled: Unpulled,
}

impl<'a> Writer<'a> {
    fn add(&mut self, change: &'a Change, class: &Class) -> io::Result<()> {
        if standing(self.root, change)? == Standing::Now {
            return Ok(());
        }
        if let Class::Never(reason) = class {
            return self.miss(format!("{} ({reason})", change.path));
        }
        let Sides { old, new } = Sides::load(self.root, self.set, change)?;
        match (old, new) {
            // A folder alone is nothing that git knows.
            (Old::Nothing, None) => Ok(()),
            (Old::Nothing, Some(new)) => {
                self.write(change, class, change.path.as_bytes(), (None, Some(&new)))
            }
            (Old::Here(old), new) => {
                self.write(change, class, change.path.as_bytes(), (Some(&old), new.as_ref()))
            }
            (Old::Lost, Some(new)) => {
                self.note(&format!(
                    "changed on both sides: {}; the workspace's version is added beside it",
                    change.path
                ))?;
                self.write(change, class, &self.beside(change), (None, Some(&new)))
            }
            (Old::Lost, None) => {
                if change.now == Some(Entry::Directory) {
                    return Ok(());
                }
                self.miss(format!("{} (removed there and changed here)", change.path))
            }
        }
    }

    fn write(
        &mut self,
        change: &Change,
        class: &Class,
        path: &[u8],
        (old, new): (Option<&Side<'_>>, Option<&Side<'_>>),
    ) -> io::Result<()> {
        if let Some(objection) = class.objection() {
            self.note(&format!("careful with {}: {objection}", change.path))?;
        }
        if self.set.altered.contains(&change.path) {
            let altered = altered(&change.path).to_string();
            self.note(&format!("careful with {altered}"))?;
            self.unpulled.missing.push(altered);
        }
        self.unpulled.paths += 1;
        write(&mut self.out, Reader::Git, path, old, new)
    }

    /// A line before a change; git skips those.
    fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "# {text}")
    }

    fn miss(&mut self, what: String) -> io::Result<()> {
        self.note(&format!("not in this patch: {what}"))?;
        self.unpulled.missing.push(what);
        Ok(())
    }

    fn finish(mut self) -> io::Result<Unpulled> {
        left_there(self.set).iter().try_for_each(|left| self.miss(left.to_string()))?;
        self.out.flush()?;
        Ok(self.unpulled)
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
}
