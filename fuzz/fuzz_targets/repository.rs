//! What a project's git folder says: its paths are inside the project, and whatever its pointers point to, nothing else is read. An
//! input is what `.git` says as a file, what `commondir` says, and the index.

#![no_main]

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use ws_tree::TreePath;

use crate::{parts::parts, repository::Repository};

#[path = "../../cli/src/project/index.rs"]
mod index;
mod parts;
#[path = "../../cli/src/project/repository.rs"]
mod repository;

const OWN: &[u8] = b"own patterns";
const SHARED: &[u8] = b"shared patterns";

/// A project with a folder, a git folder beside it and one that it may share with others.
static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let place = TempDir::new().expect("a folder");
    for folder in ["project/inside", "git/info", "shared/info"] {
        fs::create_dir_all(place.path().join(folder)).expect("a folder");
    }
    write("git/info/exclude", place.path(), OWN);
    write("shared/info/exclude", place.path(), SHARED);
    place
});

fuzz_target!(|bytes: &[u8]| {
    let [pointer, common, index] = parts(bytes);
    let place = PLACE.path();
    for (name, content) in [("project/.git", pointer), ("git/commondir", common), ("git/index", index)] {
        write(name, place, content);
    }
    let tracked = index::tracked(index).unwrap_or_default();
    let leads = pointer.strip_prefix(b"gitdir: ").map(<[u8]>::trim_ascii_end);
    let is_ours = leads == Some(&b"../git"[..]);
    let read = Repository::read(&place.join("project"));
    assert!(read.tracked.is_subset(&tracked));
    assert!([&b""[..], OWN, SHARED].contains(&read.exclude.as_slice()), "it is somebody else's");
    if is_ours {
        assert_eq!(read.tracked, tracked);
        match common.trim_ascii_end() {
            b"" | b"." => assert_eq!(read.exclude, OWN),
            b"../shared" => assert_eq!(read.exclude, SHARED),
            _ => {}
        }
    }
    if leads.is_none() {
        assert!(read.tracked.is_empty() && read.exclude.is_empty() && read.warnings.len() == 1);
    }
    let beneath = Repository::read(&place.join("project/inside"));
    assert_eq!(beneath.exclude, b"", "what is above does not count");
    if is_ours {
        assert_eq!(beneath.tracked, tracked.iter().filter_map(inside).collect::<BTreeSet<_>>());
    }
});

fn inside(path: &TreePath) -> Option<TreePath> {
    let mut names = path.components();
    names.next().filter(|first| *first == b"inside")?;
    TreePath::parse(&names.collect::<Vec<_>>().join(&b'/')).ok()
}

fn write(name: &str, place: &Path, content: &[u8]) {
    fs::write(place.join(name), content).expect("a file");
}
