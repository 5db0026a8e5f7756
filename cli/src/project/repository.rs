//! What a project's git folder says about the project, read and never run.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use ws_tree::TreePath;

use super::index;

/// Largest index that is read: some ten million files.
const LONGEST_INDEX: u64 = 1 << 30;
const LONGEST_EXCLUDE: u64 = 1 << 20;
const LONGEST_POINTER: u64 = 8 << 10;

/// What is known about the repository whose top is the project; nothing, if there is none.
#[derive(Debug, Default)]
pub struct Repository {
    pub tracked: BTreeSet<TreePath>,
    /// Patterns of `info/exclude`.
    pub exclude: Vec<u8>,
    pub warnings: Vec<String>,
}

impl Repository {
    /// Reads the repository in `folder`. What cannot be read is warned about: the project is then without those files
    /// that are tracked and ignored at the same time.
    pub fn read(folder: &Path) -> Self {
        let mut repository = Self::default();
        let git = match git_folder(folder) {
            Ok(Some(git)) => git,
            Ok(None) => return repository,
            Err(error) => {
                repository.warn(".git", &error);
                return repository;
            }
        };
        match read_bounded(&git.join("index"), LONGEST_INDEX) {
            Ok(bytes) => match index::tracked(&bytes) {
                Ok(tracked) => repository.tracked = tracked,
                Err(error) => repository.warn("git's index", &error),
            },
            // A repository without a commit and without `git add`.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => repository.warn("git's index", &error),
        }
        let exclude = common_folder(&git).join("info/exclude");
        match read_bounded(&exclude, LONGEST_EXCLUDE) {
            Ok(exclude) => repository.exclude = exclude,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => repository.warn("git's info/exclude", &error),
        }
        repository
    }

    fn warn(&mut self, what: &str, error: &dyn std::error::Error) {
        self.warnings.push(format!("{what} was not taken into account: {error}"));
    }
}

/// The git folder; in a work tree or a submodule, `.git` is a file that names it (gitrepository-layout(5)).
fn git_folder(folder: &Path) -> io::Result<Option<PathBuf>> {
    let git = folder.join(".git");
    match fs::metadata(&git) {
        Ok(metadata) if metadata.is_dir() => Ok(Some(git)),
        Ok(_) => {
            let pointer = read_bounded(&git, LONGEST_POINTER)?;
            let path = pointer.strip_prefix(b"gitdir: ").ok_or(io::ErrorKind::InvalidData)?;
            Ok(Some(folder.join(OsStr::from_bytes(path.trim_ascii_end()))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the repository keeps what its work trees share.
fn common_folder(git: &Path) -> PathBuf {
    match read_bounded(&git.join("commondir"), LONGEST_POINTER) {
        Ok(pointer) => git.join(OsStr::from_bytes(pointer.trim_ascii_end())),
        Err(_) => git.to_owned(),
    }
}

fn read_bounded(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    // A pipe would keep the reader waiting for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    if File::open(path)?.take(longest + 1).read_to_end(&mut bytes)? as u64 > longest {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
