//! Whole trees through the stream, and back as changes.

#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use ws_tree::confined::Kind;
use ws_tree::rules::Rules;
use ws_tree::walk::{FoundKind, walk};
use ws_tree::{
    Change, ChangeSet, Confined, Entry, Limits, Manifest, Received, SendOptions, Source, SourceKind,
    TreePath, Warning, compare, receive, receive_changes, send, send_changes,
};

fn open(folder: &Path) -> Confined {
    Confined::open(folder).unwrap()
}

fn sources(folder: &Path) -> Vec<Source> {
    let root = open(folder);
    let found = walk(&root, &mut Rules::new(root.clone()), &Manifest::default(), 1_000_000).unwrap();
    let source = |found: ws_tree::walk::Found| {
        let kind = match found.kind {
            FoundKind::Directory => SourceKind::Directory,
            FoundKind::File(metadata) => SourceKind::File { size: metadata.size },
            FoundKind::Symlink(target) => SourceKind::Symlink(target),
            FoundKind::Special(_) => return None,
        };
        Some(Source { path: found.path, kind })
    };
    found.into_iter().filter_map(source).collect()
}

fn transfer(from: &Path, to: &Path) -> Received {
    let mut stream = Vec::new();
    let sent = send(&open(from), &sources(from), &mut stream, &SendOptions::default()).unwrap();
    assert_eq!(sent.warnings, []);
    let received = receive(stream.as_slice(), &open(to), &Limits::PROJECT).unwrap();
    assert!(sent.matches(&received.receipt()));
    assert_eq!(sent.manifest, received.manifest);
    received
}

fn changes(base: &Received, pod: &Path) -> ChangeSet {
    let found = compare(base, &open(pod), &Limits::CHANGES).unwrap();
    let mut stream = Vec::new();
    send_changes(&open(pod), &found, &mut stream, &SendOptions::default()).unwrap();
    let spool = tempfile::tempfile().unwrap();
    let set = receive_changes(stream.as_slice(), Some(&base.manifest), spool, &Limits::CHANGES).unwrap();
    assert_eq!(set.changes, found.list);
    set
}

fn paths(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| change.path.to_string()).collect()
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "README.md", b"hello\n");
    write(root.path(), "src/main.rs", b"fn main() {}\n");
    write(root.path(), "src/deep/er/x", b"");
    write(root.path(), "big.bin", &vec![0x5a; 3 << 20]);
    write(root.path(), "run.sh", b"#!/bin/sh\n");
    fs::set_permissions(root.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    symlink("src/main.rs", root.path().join("link")).unwrap();
    symlink("nowhere", root.path().join("dangling")).unwrap();
    root
}

#[test]
fn a_tree_arrives_as_it_was() {
    let (from, to) = (tree(), tempfile::tempdir().unwrap());
    let odd = std::ffi::OsStr::from_bytes(b"not \xff utf8\n");
    fs::write(from.path().join(odd), b"odd").unwrap();
    let received = transfer(from.path(), to.path());
    assert_eq!(received.manifest.len(), 12);
    assert_eq!(fs::read(to.path().join(odd)).unwrap(), b"odd");
    assert_eq!(fs::read_link(to.path().join("link")).unwrap(), Path::new("src/main.rs"));
    let mode = |path: &str| fs::metadata(to.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("run.sh"), mode("README.md"), mode("empty")), (0o755, 0o644, 0o755));
    let modified = |root: &Path| fs::metadata(root.join("src/main.rs")).unwrap().modified().unwrap();
    assert_eq!(modified(from.path()), modified(to.path()));
}

#[test]
fn an_empty_tree_arrives() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(transfer(from.path(), to.path()).manifest.is_empty());
}

#[test]
fn many_files_of_every_size_arrive() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sizes =
        [0, 1, 100, 4096, (512 << 10) - 1, 512 << 10, (512 << 10) + 1, 1 << 20, (1 << 20) + 1, 5 << 20];
    for (number, size) in sizes.into_iter().enumerate() {
        let content: Vec<u8> =
            (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        write(from.path(), &format!("sizes/{number}"), &content);
    }
    for number in 0..2000 {
        write(from.path(), &format!("d{}/f{number}", number % 37), format!("{number}").as_bytes());
    }
    let received = transfer(from.path(), to.path());
    assert_eq!(received.manifest.len(), 2000 + 37 + 1 + sizes.len());
    assert_eq!(changes(&received, to.path()).changes, []);
    let rehashed = Received::from_manifest(received.manifest);
    assert_eq!(changes(&rehashed, to.path()).changes, []);
}

#[test]
fn every_change_comes_back_and_nothing_else() {
    let (from, pod) = (tree(), tempfile::tempdir().unwrap());
    let base = transfer(from.path(), pod.path());
    let at = |path: &str| pod.path().join(path);
    fs::write(at("README.md"), b"HELLO\n").unwrap();
    fs::remove_file(at("dangling")).unwrap();
    fs::remove_dir_all(at("src/deep")).unwrap();
    fs::set_permissions(at("run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("README.md", at("link")).unwrap();
    write(pod.path(), "new/file", b"new");
    write(pod.path(), ".git/config", b"[core]\n");
    write(pod.path(), "sub/.git/HEAD", b"ref");
    fs::remove_dir(at("empty")).unwrap();
    fs::write(at("empty"), b"a file now").unwrap();
    let set = changes(&base, pod.path());
    assert_eq!(
        paths(&set.changes),
        [
            "README.md",
            "dangling",
            "empty",
            "link",
            "new",
            "new/file",
            "run.sh",
            "src/deep",
            "src/deep/er",
            "src/deep/er/x",
            "sub"
        ]
    );
    let content = |path: &str| {
        let change = set.changes.iter().find(|change| change.path.to_string() == path).unwrap();
        std::io::read_to_string(set.content(change).unwrap()).unwrap()
    };
    assert_eq!((content("README.md"), content("new/file")), ("HELLO\n".into(), "new".into()));
}

#[test]
fn a_change_that_keeps_size_and_time_is_still_found() {
    let (from, pod) = (tree(), tempfile::tempdir().unwrap());
    let base = transfer(from.path(), pod.path());
    let path = pod.path().join("README.md");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(b"jello\n").unwrap();
    file.set_modified(before).unwrap();
    assert_eq!(paths(&changes(&base, pod.path()).changes), ["README.md"]);
}

#[test]
fn what_the_tree_ignores_is_no_change_unless_it_was_sent() {
    let (from, pod) = (tree(), tempfile::tempdir().unwrap());
    let base = transfer(from.path(), pod.path());
    write(pod.path(), ".gitignore", b"target/\n*.md\n");
    write(pod.path(), ".wsignore", b"scratch\n");
    write(pod.path(), "target/debug/x", b"built");
    write(pod.path(), "scratch/x", b"scratch");
    write(pod.path(), "NOTES.md", b"ignored");
    write(pod.path(), "README.md", b"was sent");
    assert_eq!(paths(&changes(&base, pod.path()).changes), [".gitignore", ".wsignore", "README.md"]);
}

#[test]
fn what_cannot_travel_is_reported() {
    let (from, pod) = (tree(), tempfile::tempdir().unwrap());
    let base = transfer(from.path(), pod.path());
    let _socket = std::os::unix::net::UnixListener::bind(pod.path().join("socket")).unwrap();
    symlink("/etc/passwd", pod.path().join("outside")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, pod.path().join("fifo"), fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let set = changes(&base, pod.path());
    let unsupported: Vec<_> = set
        .unsupported
        .iter()
        .map(|unsupported| format!("{}: {}", unsupported.path, unsupported.kind))
        .collect();
    assert_eq!(
        unsupported,
        ["fifo: a named pipe", "outside: a symbolic link that leads out of the project", "socket: a socket"]
    );
    assert_eq!(set.changes, []);
}

#[test]
fn changes_over_a_limit_are_refused_on_both_sides() {
    let (from, pod) = (tree(), tempfile::tempdir().unwrap());
    let base = transfer(from.path(), pod.path());
    write(pod.path(), "build/large", &vec![1; 1 << 20]);
    let small = Limits { bytes: 1 << 10, ..Limits::CHANGES };
    let short = Limits { names: 10, ..Limits::CHANGES };
    assert_eq!(
        compare(&base, &open(pod.path()), &small).unwrap_err().to_string(),
        "the changes are too large: more than 1024 bytes of content; name in a .gitignore what need not come back, \
         above all build"
    );
    assert!(compare(&base, &open(pod.path()), &short).is_err());
    let found = compare(&base, &open(pod.path()), &Limits::CHANGES).unwrap();
    let mut stream = Vec::new();
    send_changes(&open(pod.path()), &found, &mut stream, &SendOptions::default()).unwrap();
    let spool = || tempfile::tempfile().unwrap();
    for limits in [&small, &short] {
        assert!(receive_changes(stream.as_slice(), None, spool(), limits).is_err());
    }
    for end in (0..stream.len()).step_by(7) {
        assert!(receive_changes(&stream[..end], None, spool(), &Limits::CHANGES).is_err());
    }
}

#[test]
fn a_pod_that_misreports_the_baseline_is_found_out() {
    let (from, pod) = (tree(), tempfile::tempdir().unwrap());
    let base = transfer(from.path(), pod.path());
    fs::write(pod.path().join("README.md"), b"x").unwrap();
    let found = compare(&base, &open(pod.path()), &Limits::CHANGES).unwrap();
    let mut stream = Vec::new();
    send_changes(&open(pod.path()), &found, &mut stream, &SendOptions::default()).unwrap();
    let other: Manifest = [(TreePath::parse(b"README.md").unwrap(), Entry::Directory)].into_iter().collect();
    let spool = tempfile::tempfile().unwrap();
    let error = receive_changes(stream.as_slice(), Some(&other), spool, &Limits::CHANGES).unwrap_err();
    assert_eq!(error.to_string(), "README.md: the workspace misreports what was uploaded");
}

#[test]
fn files_that_vanish_or_cannot_be_read_are_warned_about() {
    let from = tree();
    let mut listed = sources(from.path());
    fs::remove_file(from.path().join("README.md")).unwrap();
    fs::remove_file(from.path().join("run.sh")).unwrap();
    symlink("/etc/passwd", from.path().join("run.sh")).unwrap();
    listed.retain(|source| source.path.to_string() != "big.bin");
    let mut stream = Vec::new();
    let sent = send(&open(from.path()), &listed, &mut stream, &SendOptions::default()).unwrap();
    let path = |path: &str| TreePath::parse(path.as_bytes()).unwrap();
    assert!(sent.warnings.contains(&Warning::Gone(path("README.md"))), "{:?}", sent.warnings);
    assert!(matches!(&sent.warnings[..], [_, _]), "{:?}", sent.warnings);
    assert!(!sent.manifest.contains(&path("run.sh")));
    let to = tempfile::tempdir().unwrap();
    assert!(sent.matches(&receive(stream.as_slice(), &open(to.path()), &Limits::PROJECT).unwrap().receipt()));
}

#[test]
fn a_sparse_file_of_four_gigabytes_streams() {
    let from = tempfile::tempdir().unwrap();
    let size = (4_u64 << 30) + 1;
    fs::File::create(from.path().join("sparse")).unwrap().set_len(size).unwrap();
    let mut stream = Vec::new();
    let sent = send(&open(from.path()), &sources(from.path()), &mut stream, &SendOptions::default()).unwrap();
    assert_eq!(sent.manifest.content_bytes(), size);
    assert!(stream.len() < 4 << 20, "{}", stream.len());
    let few = Limits { bytes: 1 << 30, ..Limits::PROJECT };
    let to = tempfile::tempdir().unwrap();
    assert!(receive(stream.as_slice(), &open(to.path()), &few).is_err());
    assert!(open(to.path()).root().list().unwrap().iter().all(|listed| listed.kind != Some(Kind::File)));
}
