use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    process::Command,
};

use super::*;

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(self, path: &str, content: &str) -> Self {
        let place = self.0.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
        self
    }

    fn git(self, arguments: &[&str]) -> Self {
        let mut command = Command::new("git");
        command.current_dir(self.0.path()).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", self.0.path());
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
        self
    }

    fn select(&self) -> Selection {
        select(self.0.path(), &BTreeSet::new()).unwrap()
    }

    fn including(&self, paths: &[&str]) -> Result<Vec<String>, Error> {
        let include = paths.iter().map(|path| TreePath::parse(path.as_bytes()).unwrap()).collect();
        let selection = select(self.0.path(), &include)?;
        Ok(selection.sources.iter().map(|source| source.path.to_string()).collect())
    }

    fn paths(&self) -> Vec<String> {
        self.select().sources.iter().map(|source| source.path.to_string()).collect()
    }
}

#[test]
fn ignored_files_stay_and_hidden_ones_go() {
    let project = Project::new()
        .write(".gitignore", "target/\n*.log\n!keep.log\n/only-top\n")
        .write(".wsignore", "big/\n")
        .write("src/.gitignore", "generated\n!../x.log\n")
        .write("src/generated", "")
        .write("src/only-top", "")
        .write("src/main.rs", "")
        .write("only-top", "")
        .write("x.log", "")
        .write("keep.log", "")
        .write("target/debug/x", "")
        .write("big/data", "")
        .write(".github/workflows/ci.yml", "");
    let expected = [
        ".github",
        ".github/workflows",
        ".github/workflows/ci.yml",
        ".gitignore",
        ".wsignore",
        "keep.log",
        "src",
        "src/.gitignore",
        "src/main.rs",
        "src/only-top",
    ];
    assert_eq!(project.paths(), expected);
}

#[test]
fn tracked_files_go_although_git_ignores_them_and_never_although_ws_does() {
    let project = Project::new()
        .git(&["init", "-q"])
        .write("build/tool/forced", "")
        .write("build/other", "")
        .write("deep/build/.wsignore", "hidden\n")
        .write("deep/build/hidden", "")
        .write("deep/build/forced", "")
        .write("left", "")
        .git(&["add", "-f", "."])
        .write(".gitignore", "build\n")
        .write(".wsignore", "left\n")
        .write("build/tool/untracked", "");
    let expected = [
        ".gitignore",
        ".wsignore",
        "build",
        "build/other",
        "build/tool",
        "build/tool/forced",
        "deep",
        "deep/build",
        "deep/build/.wsignore",
        "deep/build/forced",
    ];
    assert_eq!(project.paths(), expected);
}

#[test]
fn ignore_files_outside_the_project_do_not_count() {
    let outer = Project::new().write(".gitignore", "*\n").write("project/a", "");
    let inner = select(&outer.0.path().join("project"), &BTreeSet::new()).unwrap();
    assert_eq!(inner.sources.len(), 1);
}

#[test]
fn what_the_repository_excludes_for_itself_stays() {
    let project = Project::new()
        .git(&["init", "-q"])
        .write(".git/info/exclude", "private\n")
        .write("private", "")
        .write("a", "");
    assert_eq!(project.paths(), ["a"]);
}

#[test]
fn a_work_tree_knows_what_is_tracked() {
    let main = Project::new()
        .git(&["init", "-q"])
        .write("forced.log", "")
        .write(".gitignore", "*.log\n")
        .git(&["add", "-f", "."])
        .git(&["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"])
        .write(".git/info/exclude", "private\n")
        .git(&["worktree", "add", "-q", "tree"]);
    let tree = main.0.path().join("tree");
    fs::write(tree.join("private"), "").unwrap();
    let selection = select(&tree, &BTreeSet::new()).unwrap();
    let paths: Vec<_> = selection.sources.iter().map(|source| source.path.to_string()).collect();
    assert_eq!(
        (paths, selection.report),
        (vec![".gitignore".into(), "forced.log".into()], Report::default())
    );
}

#[test]
fn secrets_stay_whatever_an_ignore_file_says() {
    let home = Project::new().write(".ssh/id_ed25519", "key");
    let project = Project::new()
        .git(&["init", "-q"])
        .write(".wsignore", "!.env\n!*.pem\n")
        .write(".env", "TOKEN=1")
        .write("certs/server.pem", "key")
        .git(&["add", "-f", "."])
        .write("a", "");
    symlink(home.0.path().join(".ssh"), project.0.path().join("keys")).unwrap();
    symlink(home.0.path().join(".ssh/id_ed25519"), project.0.path().join("notes.txt")).unwrap();
    symlink("../../../../../etc/passwd", project.0.path().join("certs/up")).unwrap();
    assert_eq!(project.paths(), [".wsignore", "a", "certs"]);
    insta::assert_snapshot!(project.select().report.lines().join("\n"), @r"
    not sent: .env (looks like environment variables with secrets; `--include` sends it all the same)
    not sent: certs/server.pem (looks like a private key or a key store; `--include` sends it all the same)
    not sent: certs/up (a symbolic link that leads out of the project)
    not sent: keys (a symbolic link that leads out of the project)
    not sent: notes.txt (a symbolic link that leads out of the project)
    ");
    let included = project.including(&["certs/server.pem"]).unwrap();
    assert_eq!(included, [".wsignore", "a", "certs", "certs/server.pem"]);
}

#[test]
fn what_is_included_goes_whatever_ignore_files_say() {
    let project = Project::new()
        .git(&["init", "-q"])
        .write(".gitignore", ".env\nbuild/\n")
        .write(".wsignore", "private/\n")
        .write(".env", "TOKEN=1")
        .write("build/deep/out", "")
        .write("build/deep/other", "")
        .write("private/notes", "")
        .write("private/tracked", "")
        .git(&["add", "-f", "private/tracked"]);
    assert_eq!(project.paths(), [".gitignore", ".wsignore"]);
    let included = project.including(&[".env", "build/deep/out", "private/notes"]).unwrap();
    let expected = [
        ".env",
        ".gitignore",
        ".wsignore",
        "build",
        "build/deep",
        "build/deep/out",
        "private",
        "private/notes",
    ];
    assert_eq!(included, expected);
}

#[test]
fn what_cannot_be_included_is_refused() {
    let project = Project::new().write("folder/.env", "").write(".git/config", "");
    symlink("/etc/passwd", project.0.path().join("outside")).unwrap();
    for (path, why) in [
        ("folder/.evn", "the project has no such file"),
        ("folder", "it is a folder"),
        (".git/config", "the project has no such file"),
        ("outside", "a symbolic link that leads out of the project"),
    ] {
        let error = project.including(&["folder/.env", path]).unwrap_err();
        assert_eq!(error.message, format!("{path} cannot be included: {why}"));
    }
}

#[test]
fn nothing_is_sent_past_a_wsignore_that_cannot_be_used() {
    type Spoil<'a> = &'a dyn Fn(&Path);
    let too_long = "x\n".repeat(1 << 20);
    let spoil: [(&str, Spoil<'_>); 5] = [
        ("line 2:", &|file| fs::write(file, "a\n[z-a]\n").unwrap()),
        ("line 1: invalid utf-8", &|file| fs::write(file, b"\xff\n").unwrap()),
        ("longer than", &|file| fs::write(file, &too_long).unwrap()),
        ("symbolic link", &|file| symlink("patterns", file).unwrap()),
        ("", &|file| fs::create_dir(file).unwrap()),
    ];
    for (reason, spoil) in spoil {
        for folder in ["", "folder/"] {
            let project = Project::new().write("patterns", "secret\n").write("folder/secret", "");
            spoil(&project.0.path().join(format!("{folder}.wsignore")));
            let error = project.including(&[]).unwrap_err();
            let start = format!("nothing was sent, because {folder}.wsignore cannot be used: ");
            assert!(error.message.starts_with(&start), "{}", error.message);
            assert!(error.message.contains(reason), "{}", error.message);
            assert!(error.hint.is_some());
        }
    }
}

#[test]
fn a_folder_of_a_repository_knows_what_is_tracked_in_it() {
    let project = Project::new()
        .git(&["init", "-q"])
        .write("app/.gitignore", "*.log\n")
        .write("app/sub/forced.log", "")
        .write("app/other.log", "")
        .write("application/forced.log", "")
        .write("app/private", "")
        .write(".git/info/exclude", "private\n")
        .git(&["add", "-f", "app/sub/forced.log", "application/forced.log"]);
    let selection = select(&project.0.path().join("app"), &BTreeSet::new()).unwrap();
    let paths: Vec<_> = selection.sources.iter().map(|source| source.path.to_string()).collect();
    assert_eq!(paths, [".gitignore", "private", "sub", "sub/forced.log"]);
    assert_eq!(selection.report, Report::default());
}

#[test]
fn odd_files_are_reported_and_nothing_hangs() {
    let project = Project::new().write("a", "");
    let at = |name: &str| project.0.path().join(name);
    let _socket = UnixListener::bind(at("socket")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at(".gitignore"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    symlink("loop-b", at("loop-a")).unwrap();
    symlink("loop-a", at("loop-b")).unwrap();
    symlink(".", at("self")).unwrap();
    fs::write(project.0.path().join(std::ffi::OsStr::from_bytes(b"\xff\x1b[2J")), "").unwrap();
    assert_eq!(project.paths(), ["a", "loop-a", "loop-b", "self", "\\xff\\x1b[2J"]);
    insta::assert_snapshot!(project.select().report.lines().join("\n"), @r"
    not sent: .gitignore (a named pipe)
    not sent: fifo (a named pipe)
    not sent: socket (a socket)
    .gitignore: not used in full: invalid input parameter
    ");
}

#[test]
fn an_empty_folder_is_a_project() {
    let selection = Project::new().select();
    assert_eq!((selection.sources, selection.report), (Vec::new(), Report::default()));
}

#[test]
fn nobody_sends_a_home_folder() {
    let home = Path::new("/home/me");
    assert!(refuse_too_much(Path::new("/home/me/project"), Some(home)).is_ok());
    for (folder, what) in [
        ("/", "/ is the root folder, not a project"),
        ("/home/me", "/home/me is your home folder, not a project"),
        ("/home", "/home is the folder that your home folder is in, not a project"),
    ] {
        assert_eq!(refuse_too_much(Path::new(folder), Some(home)).unwrap_err().message, what);
    }
    assert!(select(Path::new("/nonexistent/x"), &BTreeSet::new()).is_err());
    assert!(select(Path::new("/etc/hostname"), &BTreeSet::new()).is_err());
}
