//! Changes onto a disk that somebody else uses too.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use ws_tree::apply::Refusal;
use ws_tree::{
    Applied, ApplyError, Change, ChangeSet, Changes, Confined, Digest, Entry, FileEntry, Limits, SendOptions,
    Target, TreePath, apply, receive_changes, send_changes,
};

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn file(content: &str) -> Entry {
    Entry::File(FileEntry {
        executable: false,
        size: content.len() as u64,
        digest: Digest::of(content.as_bytes()),
    })
}

fn link(target: &str) -> Entry {
    Entry::Symlink(Target::parse(target.as_bytes()).unwrap())
}

/// Changes as a pod would send them: `(path, before, after, content)`.
struct Pod {
    folder: tempfile::TempDir,
    list: Vec<Change>,
}

impl Pod {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), list: Vec::new() }
    }

    fn change(mut self, at: &str, base: Option<Entry>, now: Option<Entry>) -> Self {
        self.list.push(Change { path: path(at), base, now });
        self
    }

    fn file(self, at: &str, base: Option<&str>, content: &str) -> Self {
        let place = self.folder.path().join(at);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
        self.change(at, base.map(file), Some(file(content)))
    }

    fn set(self) -> ChangeSet {
        let changes = Changes { base: Digest::of(b"base"), list: self.list, unsupported: Vec::new() };
        let mut stream = Vec::new();
        let root = Confined::open(self.folder.path()).unwrap();
        let warnings = send_changes(&root, &changes, &mut stream, &SendOptions::default()).unwrap();
        assert_eq!(warnings, []);
        receive_changes(stream.as_slice(), None, tempfile::tempfile().unwrap(), &Limits::CHANGES).unwrap()
    }
}

fn apply_all(project: &Path, set: &ChangeSet) -> Result<Applied, ApplyError> {
    let chosen: Vec<_> = set.changes.iter().collect();
    apply(&Confined::open(project).unwrap(), set, &chosen)
}

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let place = project.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }
    project
}

/// Everything in a folder, with the content of files and the target of links.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let place = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&place).unwrap();
            let shown = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&place).unwrap().display())
            } else if metadata.is_dir() {
                folders.push(place.clone());
                "folder".into()
            } else {
                format!("{:o} {}", metadata.mode() & 0o777, fs::read_to_string(&place).unwrap())
            };
            found.insert(place.strip_prefix(folder).unwrap().to_owned(), shown);
        }
    }
    found
}

fn shown(folder: &Path) -> Vec<String> {
    snapshot(folder).into_iter().map(|(path, shown)| format!("{}: {shown}", path.display())).collect()
}

#[test]
fn every_kind_of_change_is_applied() {
    let project = project(&[("a", "old"), ("gone", "x"), ("d/in", "y"), ("f", "z"), ("mode", "m")]);
    fs::set_permissions(project.path().join("a"), fs::Permissions::from_mode(0o664)).unwrap();
    symlink("a", project.path().join("l")).unwrap();
    let executable = Entry::File(FileEntry { executable: true, size: 1, digest: Digest::of(b"m") });
    let mut pod = Pod::new()
        .file("a", Some("old"), "new")
        .file("new/deep/file", None, "hello")
        .change("gone", Some(file("x")), None)
        .change("d", Some(Entry::Directory), Some(file("now a file")))
        .change("d/in", Some(file("y")), None)
        .change("f", Some(file("z")), Some(Entry::Directory))
        .file("f/in", None, "below")
        .change("l", Some(link("a")), Some(link("f/in")))
        .change("mode", Some(file("m")), Some(executable));
    fs::write(pod.folder.path().join("d"), "now a file").unwrap();
    fs::write(pod.folder.path().join("mode"), "m").unwrap();
    fs::set_permissions(pod.folder.path().join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    pod.list.sort_by(|left, right| left.path.cmp(&right.path));
    let set = pod.set();
    let applied = apply_all(project.path(), &set).unwrap();
    assert_eq!(applied.done.len(), 9);
    let after = [
        "a: 664 new",
        "d: 644 now a file",
        "f: folder",
        "f/in: 644 below",
        "l: -> f/in",
        "mode: 755 m",
        "new: folder",
        "new/deep: folder",
        "new/deep/file: 644 hello",
    ];
    assert_eq!(shown(project.path()), after);
    let again = apply_all(project.path(), &set).unwrap();
    assert_eq!((again.done.len(), again.already.len()), (0, 9));
    assert_eq!(shown(project.path()), after);
}

#[test]
fn one_file_edited_here_stops_everything() {
    let project = project(&[("a", "old"), ("b", "edited here")]);
    let before = shown(project.path());
    let set =
        Pod::new().file("a", Some("old"), "new").file("b", Some("old"), "new").file("c", None, "c").set();
    match apply_all(project.path(), &set) {
        Err(ApplyError::Conflicts(conflicts)) => assert_eq!(conflicts, [path("b")]),
        other => panic!("{other:?}"),
    }
    assert_eq!(shown(project.path()), before);
}

#[test]
fn whatever_stands_at_a_new_path_or_left_an_old_one_is_a_conflict() {
    let project = project(&[("exists", "mine"), ("edited", "mine")]);
    for set in [
        Pod::new().file("exists", None, "theirs").set(),
        Pod::new().change("edited", Some(file("base")), None).set(),
        Pod::new().file("missing", Some("base"), "theirs").set(),
        Pod::new().change("exists", Some(Entry::Directory), None).set(),
    ] {
        let before = shown(project.path());
        assert!(matches!(apply_all(project.path(), &set), Err(ApplyError::Conflicts(_))), "{set:?}");
        assert_eq!(shown(project.path()), before);
    }
}

#[test]
fn a_step_that_fails_undoes_those_before_it() {
    let project =
        project(&[("a", "old"), ("gone", "x"), ("d/in", "y"), ("d/local", "only here"), ("z/f", "old")]);
    let before = shown(project.path());
    // The folder `d` holds a file that the workspace never saw, so it cannot become a file.
    let pod = Pod::new()
        .file("a", Some("old"), "new")
        .change("d", Some(Entry::Directory), Some(file("f")))
        .change("d/in", Some(file("y")), None)
        .change("gone", Some(file("x")), None)
        .file("new/deep/file", None, "hello")
        .file("z/f", Some("old"), "new");
    fs::write(pod.folder.path().join("d"), "f").unwrap();
    let error = apply_all(project.path(), &pod.set()).unwrap_err();
    assert_eq!(error.to_string(), "d could not be changed; everything was put back");
    assert_eq!(shown(project.path()), before);
}

#[test]
fn a_link_found_late_to_lead_outside_undoes_everything() {
    let project = project(&[("a", "old")]);
    symlink("/etc", project.path().join("ext")).unwrap();
    let before = shown(project.path());
    let set = Pod::new().file("a", Some("old"), "new").change("l", None, Some(link("ext/passwd"))).set();
    match apply_all(project.path(), &set) {
        Err(ApplyError::Refused { refusal, .. }) => assert_eq!(refusal, Refusal::OutsideLink),
        other => panic!("{other:?}"),
    }
    assert_eq!(shown(project.path()), before);
}

#[test]
fn a_removed_folder_that_holds_something_here_stays() {
    let project = project(&[("d/in", "y"), ("d/local", "only here")]);
    let set =
        Pod::new().change("d", Some(Entry::Directory), None).change("d/in", Some(file("y")), None).set();
    let applied = apply_all(project.path(), &set).unwrap();
    assert_eq!((applied.done, applied.kept_folders), (vec![path("d/in")], vec![path("d")]));
    assert_eq!(shown(project.path()), ["d: folder", "d/local: 644 only here"]);
}

#[test]
fn git_folders_are_never_written() {
    let project = project(&[]);
    for at in [
        ".git/hooks/pre-commit",
        ".GIT/config",
        ".git /x",
        "git~1/x",
        ".g\u{200c}it/x",
        "sub/.git",
        "a/.Git./b",
    ] {
        let set = Pod::new().file(at, None, "#!/bin/sh").set();
        match apply_all(project.path(), &set) {
            Err(ApplyError::Refused { refusal, .. }) => assert_eq!(refusal, Refusal::Git, "{at}"),
            other => panic!("{at}: {other:?}"),
        }
    }
    let set = Pod::new().change("l", None, Some(link(".git/hooks"))).set();
    assert!(matches!(
        apply_all(project.path(), &set),
        Err(ApplyError::Refused { refusal: Refusal::Git, .. })
    ));
    assert_eq!(shown(project.path()), [] as [String; 0]);
}

#[test]
fn a_folder_that_is_a_link_here_is_not_entered() {
    let outside = tempfile::tempdir().unwrap();
    let project = project(&[]);
    symlink(outside.path(), project.path().join("d")).unwrap();
    for set in
        [Pod::new().file("d/x", None, "x").set(), Pod::new().change("d/x", Some(file("x")), None).set()]
    {
        fs::write(outside.path().join("x"), "x").unwrap();
        match apply_all(project.path(), &set) {
            Err(ApplyError::Refused { refusal, .. }) => assert_eq!(refusal, Refusal::LinkedFolder),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_to_string(outside.path().join("x")).unwrap(), "x");
    }
}

#[test]
fn a_folder_swapped_for_a_link_meanwhile_leads_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "old").unwrap();
    let project = project(&[("d/f", "old")]);
    let set = Pod::new().file("d/f", Some("old"), "new").file("d/new", None, "new").set();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (folder, trap) = (project.path().join("d"), project.path().join("trap"));
            symlink(outside.path(), &trap).unwrap();
            while !stop.load(Ordering::Relaxed) {
                // One system call: at every moment there is either the folder or the link.
                renameat_with(CWD, &folder, CWD, &trap, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..1000 {
            drop(apply_all(project.path(), &set));
            assert_eq!(shown(outside.path()), ["f: 644 old"]);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_edit_in_the_last_moment_is_never_lost() {
    for round in 0..200 {
        let project = project(&[("f", "old")]);
        let set = Pod::new().file("f", Some("old"), "new").set();
        let place = project.path().join("f");
        let result = std::thread::scope(|scope| {
            let editor = scope.spawn(|| {
                (0..round % 20).for_each(|_| std::thread::yield_now());
                // As editors save: a new file takes the old one's name.
                fs::write(project.path().join("f~"), "mine").unwrap();
                fs::rename(project.path().join("f~"), &place).unwrap();
            });
            let result = apply_all(project.path(), &set);
            editor.join().unwrap();
            result
        });
        let content = fs::read_to_string(&place).unwrap();
        assert_eq!(content, "mine", "{round} {result:?}");
        assert!(shown(project.path()).iter().all(|line| !line.starts_with(".ws-pull")), "{round}");
    }
}

#[test]
fn what_stands_at_a_path_is_told() {
    use ws_tree::apply::{Standing, standing};
    let project = project(&[("same", "old"), ("done", "new"), ("edited", "mine")]);
    symlink("/etc", project.path().join("ext")).unwrap();
    let root = Confined::open(project.path()).unwrap();
    let change = |at: &str| Change { path: path(at), base: Some(file("old")), now: Some(file("new")) };
    for (at, expected) in [
        ("same", Standing::Base),
        ("done", Standing::Now),
        ("edited", Standing::Other),
        ("missing", Standing::Other),
        ("ext/passwd", Standing::Other),
    ] {
        assert_eq!(standing(&root, &change(at)).unwrap(), expected, "{at}");
    }
}
