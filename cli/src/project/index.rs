//! The names in git's index (gitformat-index(5), versions 2, 3 and 4).

use std::collections::BTreeSet;

use ws_tree::TreePath;

const SIGNATURE: &[u8] = b"DIRC";
/// Times, device, inode, mode, owner, group and size.
const STAT: usize = 40;
/// Where the mode is in that.
const MODE_AT: usize = 24;
const EXTENDED: u16 = 0x4000;
/// Names in a split index are in another file.
const SPLIT: &[u8] = b"link";

/// Why an index tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("it is not an index that this version of ws knows")]
    Format,
    #[error("it is damaged")]
    Damaged,
    #[error("it is split (core.splitIndex)")]
    Split,
}

/// The files and links in an index; submodules are no files of the project.
///
/// Names that are no paths inside a project are left out.
pub fn tracked(bytes: &[u8]) -> Result<BTreeSet<TreePath>, IndexError> {
    let mut input = Input(bytes);
    if input.take(4) != Some(SIGNATURE) {
        return Err(IndexError::Format);
    }
    let version = input.number().filter(|version| (2..=4).contains(version)).ok_or(IndexError::Format)?;
    let count = input.number().ok_or(IndexError::Damaged)?;
    // The header does not say which hash the repository uses; entries of the wrong length make no sense.
    let lengths = [20, 32];
    lengths.into_iter().find_map(|hash| entries(input, version, count, hash)).ok_or(IndexError::Damaged)?
}

/// The names, if every entry makes sense with hashes of this length.
fn entries(
    mut input: Input<'_>,
    version: u32,
    count: u32,
    hash: usize,
) -> Option<Result<BTreeSet<TreePath>, IndexError>> {
    let mut names = BTreeSet::new();
    let mut name = Vec::new();
    for _ in 0..count {
        let left = input.0.len();
        let stat = input.take(STAT)?;
        let is_file = is_file(Input(stat.get(MODE_AT..)?).number()?)?;
        input.take(hash)?;
        let flags = input.short()?;
        if flags & EXTENDED != 0 {
            (version >= 3).then_some(())?;
            input.short()?;
        }
        if version == 4 {
            let keep = name.len().checked_sub(usize::try_from(input.offset()?).ok()?)?;
            name.truncate(keep);
        } else {
            name.clear();
        }
        name.extend_from_slice(input.until_nul()?);
        if version < 4 {
            // Padded with one to eight NULs; the first is gone.
            let entry = left - input.0.len();
            input.take(entry.next_multiple_of(8) - entry)?;
        }
        if is_file && let Ok(path) = TreePath::parse(&name) {
            names.insert(path);
        }
    }
    Some(if has_extension(input, SPLIT, hash)? { Err(IndexError::Split) } else { Ok(names) })
}

/// Whether an entry of this mode is a file or a link; `None` if no entry has such a mode.
fn is_file(mode: u32) -> Option<bool> {
    match mode >> 12 {
        0o10 | 0o12 => Some(true),
        // A folder of a sparse index, a submodule.
        0o04 | 0o16 => Some(false),
        _ => None,
    }
}

fn has_extension(mut input: Input<'_>, wanted: &[u8], hash: usize) -> Option<bool> {
    while input.0.len() > hash {
        let signature = input.take(4)?;
        let length = usize::try_from(input.number()?).ok()?;
        if signature == wanted {
            return Some(true);
        }
        input.take(length)?;
    }
    Some(input.0.len() == hash).filter(|complete| *complete).map(|_| false)
}

/// What is left to read.
#[derive(Clone, Copy)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The variable-length number of version 4: as in pack files' offsets, each further byte adds one.
    fn offset(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        loop {
            let byte = *self.take(1)?.first()?;
            number = number.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            number = number.checked_add(1)?;
        }
    }

    fn until_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let taken = self.take(end)?;
        self.take(1)?;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.current_dir(folder).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", folder);
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
    }

    fn index_of(folder: &Path) -> Vec<u8> {
        std::fs::read(folder.join(".git/index")).unwrap()
    }

    #[test]
    fn every_version_of_gits_own_index_is_read() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q"]);
        let names = ["a", "dir/b", "dir/longer-name", "dir/longer-name-2", "z"];
        for name in names {
            std::fs::create_dir_all(folder.path().join("dir")).unwrap();
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        git(folder.path(), &["add", "."]);
        for version in ["2", "4", "3"] {
            git(folder.path(), &["update-index", "--index-version", version]);
            if version == "3" {
                // The extended flags are what makes git write version 3.
                git(folder.path(), &["update-index", "--skip-worktree", "z"]);
            }
            let tracked = tracked(&index_of(folder.path())).unwrap();
            assert_eq!(tracked.iter().map(ToString::to_string).collect::<Vec<_>>(), names, "{version}");
        }
    }

    #[test]
    fn a_repository_with_long_hashes_is_read() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q", "--object-format=sha256"]);
        std::fs::write(folder.path().join("a"), "a").unwrap();
        std::fs::write(folder.path().join("b"), "b").unwrap();
        git(folder.path(), &["add", "."]);
        assert_eq!(tracked(&index_of(folder.path())).unwrap().len(), 2);
    }

    #[test]
    fn a_split_index_says_so() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q"]);
        std::fs::write(folder.path().join("a"), "a").unwrap();
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["update-index", "--split-index"]);
        assert_eq!(tracked(&index_of(folder.path())), Err(IndexError::Split));
    }

    #[test]
    fn a_damaged_index_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q"]);
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        git(folder.path(), &["add", "."]);
        for version in ["2", "4"] {
            git(folder.path(), &["update-index", "--index-version", version]);
            let whole = index_of(folder.path());
            for end in 0..whole.len() {
                assert!(tracked(&whole[..end]).is_err(), "{version} {end}");
            }
            for position in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[position] ^= 0xff;
                drop(tracked(&damaged));
            }
        }
        assert_eq!(tracked(b"DIRC\0\0\0\x05\0\0\0\0"), Err(IndexError::Format));
    }
}
