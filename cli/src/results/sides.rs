//! Both sides of a change, with their content.

use std::io::{self, Read};

use ws_tree::{
    Change, ChangeSet, Confined, Digest, Entry, FileEntry, Hasher,
    apply::{Standing, standing},
};

/// Content above this size is neither compared line by line nor kept in memory.
pub const LONGEST: u64 = 2 << 20;

/// A file or a link as git sees it.
pub struct Side<'a> {
    pub mode: Mode,
    pub content: Content<'a>,
}

/// What is in a file.
pub enum Content<'a> {
    Short(Vec<u8>),
    Long(Source<'a>),
}

/// Content that everybody who wants it reads anew.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    place: Place<'a>,
    change: &'a Change,
    size: u64,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Project(&'a Confined),
    Workspace(&'a ChangeSet),
}

impl<'a> Source<'a> {
    fn open(&self) -> io::Result<Box<dyn Read + 'a>> {
        match self.place {
            Place::Workspace(set) => Ok(Box::new(set.content(self.change).ok_or(io::ErrorKind::NotFound)?)),
            Place::Project(root) => {
                let path = &self.change.path;
                let (file, _) = root.parent_of(path)?.open(path.name())?;
                // One more: it may have grown, which its digest then tells.
                Ok(Box::new(file.take(self.size.saturating_add(1))))
            }
        }
    }
}

impl Content<'_> {
    pub fn size(&self) -> u64 {
        match self {
            Self::Short(bytes) => bytes.len() as u64,
            Self::Long(source) => source.size,
        }
    }

    /// Lines, if it can be shown and compared as such.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Short(bytes) => {
                let is_text = !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
                is_text.then_some(bytes)
            }
            Self::Long(_) => None,
        }
    }

    pub fn reader(&self) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Short(bytes) => Ok(Box::new(bytes.as_slice())),
            Self::Long(source) => source.open(),
        }
    }

    /// Whether both have the same bytes.
    pub fn same(&self, other: &Self) -> io::Result<bool> {
        match (self, other) {
            (Self::Short(left), Self::Short(right)) => Ok(left == right),
            _ if self.size() != other.size() => Ok(false),
            _ => Ok(self.digest()? == other.digest()?),
        }
    }

    fn digest(&self) -> io::Result<Digest> {
        let mut hasher = Hasher::default();
        io::copy(&mut self.reader()?, &mut hasher)?;
        Ok(hasher.finish())
    }
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
pub enum Old<'a> {
    /// Nothing, or a folder, which has no content.
    Nothing,
    /// What was uploaded, which is still here.
    Here(Side<'a>),
    /// What was uploaded is no longer here; nobody else has it.
    Lost,
}

impl<'a> Old<'a> {
    pub fn here(&self) -> Option<&Side<'a>> {
        if let Self::Here(side) = self { Some(side) } else { None }
    }

    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost)
    }
}

/// A change with its contents.
pub struct Sides<'a> {
    pub old: Old<'a>,
    /// `None` for a removal, or for a folder.
    pub new: Option<Side<'a>>,
}

impl<'a> Sides<'a> {
    /// Reads the contents of a change.
    ///
    /// A side that is a folder has no content. The old side is read from the project and counts only with the digest
    /// of what was uploaded.
    pub fn load(root: &'a Confined, set: &'a ChangeSet, change: &'a Change) -> io::Result<Self> {
        let old = match &change.base {
            Some(Entry::File(_) | Entry::Symlink(_)) => here(root, change)?,
            // A path that should be free and is not.
            None if standing(root, change)? == Standing::Other => Old::Lost,
            None | Some(Entry::Directory) => Old::Nothing,
        };
        let new = match &change.now {
            None | Some(Entry::Directory) => None,
            Some(Entry::Symlink(target)) => Some(link(target.as_bytes())),
            Some(Entry::File(entry)) => Some(file(entry, Place::Workspace(set), change)?),
        };
        Ok(Self { old, new })
    }
}

/// The old side, if it is what was uploaded.
fn here<'a>(root: &'a Confined, change: &'a Change) -> io::Result<Old<'a>> {
    if standing(root, change)? == Standing::Other {
        return Ok(Old::Lost);
    }
    let folder = root.parent_of(&change.path)?;
    match &change.base {
        Some(Entry::File(entry)) => {
            let side = file(entry, Place::Project(root), change)?;
            Ok(if side.content.digest()? == entry.digest { Old::Here(side) } else { Old::Lost })
        }
        Some(Entry::Symlink(target)) => {
            let same = folder.read_link(change.path.name())? == *target;
            Ok(if same { Old::Here(link(target.as_bytes())) } else { Old::Lost })
        }
        Some(Entry::Directory) | None => Ok(Old::Nothing),
    }
}

fn file<'a>(entry: &FileEntry, place: Place<'a>, change: &'a Change) -> io::Result<Side<'a>> {
    let mode = if entry.executable { Mode::Executable } else { Mode::File };
    let source = Source { place, change, size: entry.size };
    if entry.size > LONGEST {
        return Ok(Side { mode, content: Content::Long(source) });
    }
    let mut content = Vec::new();
    source.open()?.read_to_end(&mut content)?;
    Ok(Side { mode, content: Content::Short(content) })
}

fn link<'a>(target: &[u8]) -> Side<'a> {
    Side { mode: Mode::Link, content: Content::Short(target.to_vec()) }
}
