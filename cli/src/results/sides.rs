//! Both sides of a change, with their content.

use std::io::{self, Read as _};

use ws_tree::{
    Change, ChangeSet, Confined, Digest, Entry,
    apply::{Standing, standing},
};

/// A file or a link as git sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    pub mode: Mode,
    pub content: Vec<u8>,
}

/// What git distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    File,
    Executable,
    Link,
}

impl Mode {
    /// As git writes it.
    pub fn git(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
        }
    }
}

/// What a change replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Old {
    /// Nothing, or a folder, which has no content.
    Nothing,
    /// What was uploaded, which is still here.
    Here(Side),
    /// What was uploaded is no longer here; nobody else has it.
    Lost,
}

/// A change with its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    pub old: Old,
    /// `None` for a removal, or for a folder.
    pub new: Option<Side>,
}

impl Sides {
    /// Reads the contents of a change.
    ///
    /// A side that is a folder has no content. The old side is read from the project and counts only with the digest
    /// of what was uploaded.
    pub fn load(root: &Confined, set: &ChangeSet, change: &Change) -> io::Result<Self> {
        let old = match &change.base {
            Some(Entry::File(_) | Entry::Symlink(_)) => here(root, change)?,
            // A path that should be free and is not.
            None if standing(root, change)? == Standing::Other => Old::Lost,
            None | Some(Entry::Directory) => Old::Nothing,
        };
        let new = match &change.now {
            None | Some(Entry::Directory) => None,
            Some(Entry::Symlink(target)) => Some(link(target.as_bytes())),
            Some(Entry::File(file)) => {
                let mut content = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
                set.content(change).ok_or(io::ErrorKind::NotFound)?.read_to_end(&mut content)?;
                Some(Side { mode: file_mode(file.executable), content })
            }
        };
        Ok(Self { old, new })
    }
}

/// The old side, if it is what was uploaded.
fn here(root: &Confined, change: &Change) -> io::Result<Old> {
    if standing(root, change)? == Standing::Other {
        return Ok(Old::Lost);
    }
    let folder = root.parent_of(&change.path)?;
    match &change.base {
        Some(Entry::File(file)) => {
            let mut content = Vec::new();
            folder.open(change.path.name())?.0.take(file.size + 1).read_to_end(&mut content)?;
            let same = Digest::of(&content) == file.digest;
            Ok(if same { Old::Here(Side { mode: file_mode(file.executable), content }) } else { Old::Lost })
        }
        Some(Entry::Symlink(target)) => {
            let same = folder.read_link(change.path.name())? == *target;
            Ok(if same { Old::Here(link(target.as_bytes())) } else { Old::Lost })
        }
        Some(Entry::Directory) | None => Ok(Old::Nothing),
    }
}

fn link(target: &[u8]) -> Side {
    Side { mode: Mode::Link, content: target.to_vec() }
}

fn file_mode(executable: bool) -> Mode {
    if executable { Mode::Executable } else { Mode::File }
}
