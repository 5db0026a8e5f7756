//! One open folder, and what can be done with a name in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::HANDLE;
use crate::entry::{SpecialKind, Target, Timestamp};

/// An open folder. Names given to its methods are single components; links are never followed.
#[derive(Clone, Debug)]
pub struct Dir(Arc<OwnedFd>);

/// What the file system says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    pub size: u64,
    pub inode: u64,
    pub modified: Timestamp,
    /// When content or metadata last changed; unlike `modified`, it cannot be set.
    pub changed: Timestamp,
}

/// Mode of a folder in a project.
pub const FOLDER_MODE: u32 = 0o755;

/// What kind of file a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    Symlink,
    Special(SpecialKind),
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Vec<u8>,
    /// Absent where the file system does not say.
    pub kind: Option<Kind>,
}

impl Metadata {
    /// Whether the owner may execute it.
    pub fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

impl Dir {
    pub(super) fn new(directory: OwnedFd) -> Self {
        Self(Arc::new(directory))
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens a folder in this one.
    pub fn dir(&self, name: &[u8]) -> io::Result<Self> {
        check(name)?;
        let directory = rustix::fs::openat(self.handle(), name, HANDLE | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self::new(directory))
    }

    /// Everything in this folder, in no order.
    pub fn list(&self) -> io::Result<Vec<Listed>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(self.handle(), c".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(Listed { name: name.to_vec(), kind: kind(entry.file_type()) });
            }
        }
        Ok(names)
    }

    /// What stands at a name.
    pub fn metadata(&self, name: &[u8]) -> io::Result<Metadata> {
        check(name)?;
        let stat = rustix::fs::statat(self.handle(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(metadata(&stat))
    }

    /// Opens a regular file for reading; anything else is an error, and a pipe is not waited for.
    pub fn open(&self, name: &[u8]) -> io::Result<(File, Metadata)> {
        check(name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.handle(), name, flags, Mode::empty())?;
        let found = metadata(&rustix::fs::fstat(&file)?);
        match found.kind {
            Kind::File => Ok((File::from(file), found)),
            Kind::Directory | Kind::Symlink | Kind::Special(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Creates a file that must not exist, with mode 0755 or 0644 whatever the umask.
    pub fn create(&self, name: &[u8], executable: bool) -> io::Result<File> {
        check(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.handle(), name, flags, file_mode(executable))?;
        Ok(File::from(file))
    }

    /// Creates a folder that must not exist, with a mode from which the umask is taken.
    pub fn create_dir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        check(name)?;
        Ok(rustix::fs::mkdirat(self.handle(), name, Mode::from_raw_mode(mode))?)
    }

    /// Creates a symbolic link that must not exist.
    pub fn create_symlink(&self, name: &[u8], target: &Target) -> io::Result<()> {
        check(name)?;
        Ok(rustix::fs::symlinkat(target.as_bytes(), self.handle(), name)?)
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Target> {
        check(name)?;
        let target = rustix::fs::readlinkat(self.handle(), name, Vec::new())?;
        Target::parse(target.as_bytes()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Removes a file or a link.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        check(name)?;
        Ok(rustix::fs::unlinkat(self.handle(), name, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        check(name)?;
        Ok(rustix::fs::unlinkat(self.handle(), name, AtFlags::REMOVEDIR)?)
    }

    /// Moves a name to another folder, where it must not exist.
    pub fn rename_new(&self, name: &[u8], to: &Self, new_name: &[u8]) -> io::Result<()> {
        check(name)?;
        check(new_name)?;
        match rustix::fs::renameat_with(self.handle(), name, to.handle(), new_name, RenameFlags::NOREPLACE) {
            // Some file systems know no flags; a hard link is as exclusive.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(self.handle(), name, to.handle(), new_name, AtFlags::empty())?;
                self.remove_file(name)
            }
            result => Ok(result?),
        }
    }

    /// Swaps two names in one step, where the file system can; `false` if it cannot.
    pub fn exchange(&self, name: &[u8], with: &Self, other: &[u8]) -> io::Result<bool> {
        check(name)?;
        check(other)?;
        match rustix::fs::renameat_with(self.handle(), name, with.handle(), other, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Gives an open file its normalised mode, if the umask took some of it.
pub(crate) fn normalise_mode(file: &File, executable: bool) -> io::Result<()> {
    set_mode(file, file_mode(executable).as_raw_mode())
}

pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Sets a file's modification time; the access time becomes the present.
pub(crate) fn set_modified(file: &File, modified: Timestamp) -> io::Result<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let last_modification = Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanoseconds.into() };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access, last_modification })?)
}

/// What an open file's metadata is at present.
pub(crate) fn file_metadata(file: &File) -> io::Result<Metadata> {
    Ok(metadata(&rustix::fs::fstat(file)?))
}

fn file_mode(executable: bool) -> Mode {
    Mode::from_raw_mode(if executable { 0o755 } else { 0o644 })
}

/// A name with a slash, or one that means another folder, would leave this one.
fn check(name: &[u8]) -> io::Result<()> {
    let single = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/');
    if single { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn metadata(stat: &Stat) -> Metadata {
    Metadata {
        kind: kind(FileType::from_raw_mode(stat.st_mode)).unwrap_or(Kind::Special(SpecialKind::Device)),
        mode: stat.st_mode & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        inode: stat.st_ino,
        modified: timestamp(stat.st_mtime, stat.st_mtime_nsec),
        changed: timestamp(stat.st_ctime, stat.st_ctime_nsec),
    }
}

fn timestamp(seconds: i64, nanoseconds: u64) -> Timestamp {
    Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds).unwrap_or_default() }
}

fn kind(file_type: FileType) -> Option<Kind> {
    match file_type {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Fifo => Some(Kind::Special(SpecialKind::Fifo)),
        FileType::Socket => Some(Kind::Special(SpecialKind::Socket)),
        FileType::CharacterDevice | FileType::BlockDevice => Some(Kind::Special(SpecialKind::Device)),
        FileType::Unknown => None,
    }
}
