//! What a project's git folder says about the project, read and never run.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use ws_tree::TreePath;

use super::index;

/// Largest index that is read: some ten million files.
const LONGEST_INDEX: u64 = 1 << 30;
const LONGEST_EXCLUDE: u64 = 1 << 20;
const LONGEST_POINTER: u64 = 8 << 10;

/// What is known about the repository that the project is, or is a part of; nothing, if there is none.
#[derive(Debug, Default)]
pub struct Repository {
    pub tracked: BTreeSet<TreePath>,
    /// Patterns of `info/exclude`, if the project is the whole repository.
    pub exclude: Vec<u8>,
    pub warnings: Vec<String>,
}

impl Repository {
    /// Reads the repository around `folder`, an absolute path. What cannot be read is warned about: the project is then
    /// without those files that are tracked and ignored at the same time.
    pub fn read(folder: &Path) -> Self {
        let mut repository = Self::default();
        let (top, git) = match around(folder) {
            Ok(Some(found)) => found,
            Ok(None) => return repository,
            Err(error) => {
                repository.warn(".git", &error);
                return repository;
            }
        };
        let inside = folder.strip_prefix(top).unwrap_or(Path::new(""));
        match read_bounded(&git.join("index"), LONGEST_INDEX) {
            Ok(bytes) => match index::tracked(&bytes) {
                Ok(tracked) => repository.tracked = beneath(inside, tracked),
                Err(error) => repository.warn("git's index", &error),
            },
            // A repository without a commit and without `git add`.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => repository.warn("git's index", &error),
        }
        // Patterns of other folders do not count, so that a project means the same on every machine.
        if inside != Path::new("") {
            return repository;
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

/// The top of the repository that a folder is in, and its git folder. As for git, a repository of somebody else does not
/// count: whoever can write above the project could otherwise say what is sent of it.
fn around(folder: &Path) -> io::Result<Option<(&Path, PathBuf)>> {
    let owner = fs::metadata(folder)?.uid();
    for top in folder.ancestors() {
        if let Some(git) = git_folder(top)? {
            let trusted = top == folder || fs::metadata(&git)?.uid() == owner;
            return Ok(trusted.then_some((top, git)));
        }
    }
    Ok(None)
}

/// The paths in the folder `inside`, as seen from there.
fn beneath(inside: &Path, tracked: BTreeSet<TreePath>) -> BTreeSet<TreePath> {
    let inside = inside.as_os_str().as_bytes();
    if inside.is_empty() {
        return tracked;
    }
    let rest = |path: &TreePath| path.as_bytes().strip_prefix(inside)?.strip_prefix(b"/").map(<[u8]>::to_vec);
    tracked.iter().filter_map(|path| TreePath::parse(&rest(path)?).ok()).collect()
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
