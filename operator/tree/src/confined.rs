//! Files beneath one folder, and nothing else.
//!
//! [`Confined`] turns a path into the handle of the folder it is in without ever following a symbolic link, and
//! [`Dir`] then works on single names in that folder. No operation takes a path that the kernel would resolve on its
//! own, so nothing outside is reached even while somebody else swaps folders for links.

mod dir;
mod resolve;

use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::path::TreePath;

pub use dir::{Dir, FOLDER_MODE, Kind, Listed, Metadata};
pub(crate) use dir::{file_metadata, normalise_mode, set_mode, set_modified};

/// Flags of a handle that is used only to reach what is in a folder.
const HANDLE: OFlags = if cfg!(target_os = "linux") {
    OFlags::from_bits_retain(OFlags::DIRECTORY.bits() | OFlags::CLOEXEC.bits() | PATH_BITS)
} else {
    OFlags::from_bits_retain(OFlags::DIRECTORY.bits() | OFlags::CLOEXEC.bits())
};
#[cfg(target_os = "linux")]
const PATH_BITS: u32 = OFlags::PATH.bits();
#[cfg(not(target_os = "linux"))]
const PATH_BITS: u32 = 0;

/// A folder whose inside can be reached, and whose outside cannot.
#[derive(Clone, Debug)]
pub struct Confined {
    root: Dir,
}

impl Confined {
    /// Opens a folder by a trusted path; links in that path are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, HANDLE, Mode::empty())?;
        Ok(Self { root: Dir::new(root) })
    }

    /// The folder itself.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// The folder with these path bytes, empty for the root. Fails if any component is not a real folder.
    pub fn dir(&self, path: &[u8]) -> io::Result<Dir> {
        if path.is_empty() { Ok(self.root.clone()) } else { resolve::beneath(&self.root, path) }
    }

    /// The folder that `path` is in.
    pub fn parent_of(&self, path: &TreePath) -> io::Result<Dir> {
        self.dir(path.split().0)
    }

    /// What stands at `path`; links are not followed.
    pub fn metadata(&self, path: &TreePath) -> io::Result<Metadata> {
        self.parent_of(path)?.metadata(path.name())
    }

    /// Whether following the link target `target` from the folder `directory` ends inside, or nowhere.
    ///
    /// This is what the kernel finds on this disk, beside [`crate::Target::stays_inside`], which speaks about every
    /// disk: a link that was here before may lead outside.
    pub fn leads_inside(&self, directory: &[u8], target: &[u8]) -> io::Result<bool> {
        resolve::leads_inside(&self.root, directory, target)
    }
}
