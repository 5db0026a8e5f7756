//! What is undone while somebody else goes on saving.

use std::fs;
use std::path::Path;

use super::*;
use crate::changes::{Change, ChangeSet, Changes, receive_changes, send_changes};
use crate::digest::Digest;
use crate::entry::FileEntry;
use crate::limits::Limits;
use crate::send::SendOptions;

fn file(content: &str) -> Entry {
    let (size, digest) = (content.len() as u64, Digest::of(content.as_bytes()));
    Entry::File(FileEntry { executable: false, size, digest })
}

/// Changes of `old` into `new` content; no old content: a new file.
fn set(changes: &[(&str, Option<&str>)]) -> ChangeSet {
    let pod = tempfile::tempdir().unwrap();
    let list = changes.iter().map(|(path, old)| {
        fs::write(pod.path().join(path), "new").unwrap();
        let path = TreePath::parse(path.as_bytes()).unwrap();
        Change { path, base: old.map(file), now: Some(file("new")) }
    });
    let changes = Changes { base: Digest::of(b""), list: list.collect(), unsupported: Vec::new() };
    let (root, mut stream) = (Confined::open(pod.path()).unwrap(), Vec::new());
    send_changes(&root, &changes, &mut stream, &SendOptions::default()).unwrap();
    receive_changes(stream.as_slice(), None, tempfile::tempfile().unwrap(), &Limits::CHANGES).unwrap()
}

/// Does everything in `set`, lets `meanwhile` happen, and undoes it; returns what was left in the staging folder.
fn undone(
    project: &Path,
    set: &ChangeSet,
    meanwhile: impl FnOnce(&Path),
) -> (Result<(), ApplyError>, Vec<String>) {
    let root = Confined::open(project).unwrap();
    let steps: Vec<_> =
        set.changes.iter().map(|change| Step { change, before: change.base.as_ref() }).collect();
    let stage = Stage::prepare(&root, set, &steps).unwrap();
    let mut journal = Journal::new(&root, &stage);
    journal.run(&steps).unwrap();
    meanwhile(project);
    let result = journal.undo();
    let contents = fs::read_dir(project.join(stage.path().to_path())).unwrap();
    let mut staged: Vec<_> =
        contents.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    staged.sort();
    (result, staged)
}

fn read(project: &Path, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| fs::read_to_string(project.join(name)).unwrap_or_default()).collect()
}

#[test]
fn what_was_saved_meanwhile_stays_and_the_rest_is_put_back() {
    let project = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(project.path().join(name), "old").unwrap();
    }
    let set = set(&[("a", Some("old")), ("b", Some("old")), ("c", None), ("d", None)]);
    let (result, staged) = undone(project.path(), &set, |project| {
        // As editors save: a new file takes the old one's name, or the file itself is written.
        fs::write(project.join("a~"), "mine").unwrap();
        fs::rename(project.join("a~"), project.join("a")).unwrap();
        fs::write(project.join("c"), "mine").unwrap();
    });
    result.unwrap();
    assert_eq!(read(project.path(), &["a", "b", "c", "d"]), ["mine", "old", "mine", ""]);
    assert_eq!(staged, ["new", "new", "old"]);
}

#[test]
fn one_path_that_cannot_be_put_back_does_not_keep_the_others_from_it() {
    let project = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(project.path().join(name), "old").unwrap();
    }
    let set = set(&[("a", Some("old")), ("b", Some("old")), ("c", Some("old"))]);
    let (result, staged) =
        undone(project.path(), &set, |project| fs::remove_file(project.join("b")).unwrap());
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("not everything could be put back; what is missing is in"), "{error}");
    assert!(error.ends_with(": b"), "{error}");
    assert_eq!(read(project.path(), &["a", "b", "c"]), ["old", "", "old"]);
    assert_eq!(staged, ["new", "new", "old"]);
}
