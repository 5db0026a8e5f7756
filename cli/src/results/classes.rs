//! Which changes are applied, which only by name, and which never.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use ws_tree::{
    Change, Confined, Entry, TreePath,
    escape::is_invisible,
    fold::{folded, is_git_component, is_windows_reserved},
    pattern::{Folded, NamePattern},
};

use super::{
    collisions::{Collisions, Names},
    rules::GROUPS,
};

/// What may become of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "class", content = "reason", rename_all = "camelCase")]
pub enum Class {
    /// Applied.
    Safe,
    /// Would run on this machine by itself: applied only by name.
    RunsHere(&'static str),
    /// Has a name that misleads people or file systems: applied only by name.
    OddName(String),
    /// Never applied.
    Never(&'static str),
}

impl Class {
    /// Why it is not simply applied.
    pub fn objection(&self) -> Option<&str> {
        match self {
            Self::Safe => None,
            Self::RunsHere(reason) | Self::Never(reason) => Some(reason),
            Self::OddName(reason) => Some(reason),
        }
    }
}

/// What makes a folder a git repository, folded.
const HEAD: &[u8] = b"head";

/// Sorts changes into classes. What a path is called counts, and what else is in the folder.
pub struct Classifier<'a> {
    root: &'a Confined,
    /// Folders that get a `HEAD`.
    heads: HashSet<&'a [u8]>,
    collisions: Collisions<'a>,
    /// Names in the folders here that were looked at.
    here: HashMap<Vec<u8>, Names>,
}

impl<'a> Classifier<'a> {
    pub fn new(root: &'a Confined, changes: &'a [Change]) -> Self {
        let present = || changes.iter().filter(|change| change.now.is_some()).map(|change| &change.path);
        let places = present().map(TreePath::split);
        Self {
            root,
            heads: places.filter(|(_, name)| folded(name) == HEAD).map(|(folder, _)| folder).collect(),
            collisions: Collisions::among(present()),
            here: HashMap::new(),
        }
    }

    pub fn classify(&mut self, change: &Change) -> Class {
        if change.path.components().any(is_git_component) {
            return Class::Never("nothing in a git folder is taken from a workspace");
        }
        if let Some(Entry::Symlink(target)) = &change.now
            && target.as_bytes().split(|&byte| byte == b'/').any(is_git_component)
        {
            return Class::Never("a link into a git folder is not taken from a workspace");
        }
        if let Some(reason) = runs_here(change).or_else(|| self.makes_a_repository(change)) {
            return Class::RunsHere(reason);
        }
        match self.odd_name(change) {
            Some(reason) => Class::OddName(reason),
            None => Class::Safe,
        }
    }

    /// A name that was here before was the user's own choice.
    fn odd_name(&mut self, change: &Change) -> Option<String> {
        if change.base.is_some() || change.now.is_none() {
            return None;
        }
        if change.path.components().any(is_misleading) {
            return Some("its name holds characters that are not seen".to_owned());
        }
        if change.path.components().any(is_windows_reserved) {
            return Some("its name means something else on Windows".to_owned());
        }
        let other = self.same_elsewhere(&change.path)?;
        Some(format!("some file systems take it for {other}"))
    }

    /// The path, or the folder above it, that has another spelling among the changes or here.
    fn same_elsewhere(&mut self, path: &TreePath) -> Option<TreePath> {
        if let Some(other) = self.collisions.of(path) {
            return Some(other.clone());
        }
        for place in path.ancestors().chain([path.clone()]) {
            let (folder, name) = place.split();
            let alike = self.here(folder).alike(name);
            if alike.is_empty() {
                // Nothing is here that could be meant, and nothing in it.
                return None;
            }
            // Names that are here side by side were the user's own choice.
            if !alike.iter().any(|other| other == name) {
                return alike.first().and_then(|other| TreePath::child(place.parent().as_ref(), other).ok());
            }
        }
        None
    }

    fn here(&mut self, folder: &[u8]) -> &Names {
        let root = self.root;
        self.here.entry(folder.to_vec()).or_insert_with(|| Names::of(root, folder))
    }

    /// Git takes any folder with a `HEAD`, `objects` and `refs` for a repository, and runs what its configuration says.
    fn makes_a_repository(&mut self, change: &Change) -> Option<&'static str> {
        if !matches!(change.now, Some(Entry::File(_) | Entry::Symlink(_))) {
            return None;
        }
        let (folder, name) = change.path.split();
        match folded(name).as_slice() {
            HEAD => Some("it can make its folder a git repository"),
            b"config" | b"config.worktree" | b"commondir" if self.has_head(folder) => {
                Some("it can be the configuration of a git repository")
            }
            _ => None,
        }
    }

    fn has_head(&mut self, folder: &[u8]) -> bool {
        self.heads.contains(folder) || !self.here(folder).alike(HEAD).is_empty()
    }
}

fn runs_here(change: &Change) -> Option<&'static str> {
    let path = Folded::new(&change.path);
    let is_folder = change.now.as_ref().or(change.base.as_ref()) == Some(&Entry::Directory);
    // A folder called like a build file is none.
    let counts = |pattern: &NamePattern| !is_folder || matches!(pattern, NamePattern::Component(_));
    let matches = |pattern: &NamePattern| counts(pattern) && path.matches(*pattern);
    let group = GROUPS.iter().find(|group| group.patterns.iter().any(matches));
    if let Some(group) = group {
        return Some(group.reason);
    }
    let executable = |entry: &Option<Entry>| matches!(entry, Some(Entry::File(file)) if file.executable);
    (executable(&change.now) && !executable(&change.base)).then_some("it becomes executable")
}

/// Whether a component holds control characters or characters that are not seen.
fn is_misleading(component: &[u8]) -> bool {
    component.utf8_chunks().any(|chunk| chunk.valid().chars().any(|c| c.is_control() || is_invisible(c)))
}

#[cfg(test)]
mod tests {
    use ws_tree::{Digest, FileEntry, Target};

    use super::*;

    fn file(executable: bool) -> Entry {
        Entry::File(FileEntry { executable, size: 0, digest: Digest::of(b"") })
    }

    fn change(path: &str, base: Option<Entry>, now: Option<Entry>) -> Change {
        Change { path: TreePath::parse(path.as_bytes()).unwrap(), base, now }
    }

    fn class(path: &str) -> Class {
        let folder = tempfile::tempdir().unwrap();
        let changes = [change(path, None, Some(file(false)))];
        Classifier::new(&Confined::open(folder.path()).unwrap(), &changes).classify(&changes[0])
    }

    #[test]
    fn what_runs_by_itself_is_held_back() {
        for path in [
            ".gitattributes",
            ".gitmodules",
            ".husky/pre-commit",
            "lefthook.yml",
            ".pre-commit-config.yaml",
            ".wsignore",
            ".envrc",
            "sub/.ENVRC",
            ".env",
            ".mise.toml",
            "mise.toml",
            ".tool-versions",
            ".zshrc",
            "flake.nix",
            ".vscode/tasks.json",
            ".vscode",
            ".VSCode/settings.json",
            "x.code-workspace",
            ".idea/workspace.xml",
            ".devcontainer/devcontainer.json",
            ".exrc",
            ".dir-locals.el",
            "eslint.config.mjs",
            ".eslintrc.js",
            "vite.config.ts",
            ".claude/settings.json",
            "CLAUDE.md",
            "sub/AGENTS.md",
            "GEMINI.md",
            ".mcp.json",
            ".cursor/rules",
            ".cursorrules",
            ".codex/config.toml",
            ".windsurf/x",
            ".kiro/x",
            ".github/workflows/ci.yml",
            ".github/copilot-instructions.md",
            ".gitlab-ci.yml",
            "Jenkinsfile",
            "package.json",
            ".npmrc",
            ".yarnrc.yml",
            ".yarn/releases/yarn.cjs",
            ".pnp.cjs",
            "pnpmfile.cjs",
            "setup.py",
            "pyproject.toml",
            "x.pth",
            "sitecustomize.py",
            "Gemfile",
            "build.rs",
            "Cargo.toml",
            ".cargo/config.toml",
            "rust-toolchain.toml",
            "Makefile",
            "lib/GNUmakefile",
            "justfile",
            "Taskfile.yml",
            "CMakeLists.txt",
            "conftest.py",
            "gradlew",
            "build.gradle.kts",
            "gradle.properties",
            "lib.jar",
            "pom.xml",
            ".bazelrc",
            "BUILD",
            ".ripgreprc",
            "x.desktop",
            "repo.d/HEAD",
            "repo.d/Head",
        ] {
            assert!(matches!(class(path), Class::RunsHere(_)), "{path}: {:?}", class(path));
        }
    }

    #[test]
    fn ordinary_work_is_safe() {
        for path in [
            "src/main.rs",
            "README.md",
            "docs/build.md",
            "index.html",
            "a/b/c.py",
            "lib/makefile.rs",
            "tests/it.rs",
            "Cargo.lock",
            "go.mod",
            "environment.ts",
            "src/github.rs",
            "größe/日本.txt",
        ] {
            assert_eq!(class(path), Class::Safe, "{path}");
        }
    }

    #[test]
    fn a_git_folder_is_never_taken() {
        for path in [".git/config", "sub/.git", ".GIT/hooks/x", "git~1/config", ".g\u{200c}it/x", ".git /x"] {
            assert!(matches!(class(path), Class::Never(_)), "{path}");
        }
    }

    #[test]
    fn names_that_mislead_are_held_back() {
        for path in ["a\u{202e}b.rs", "a\u{200b}.rs", "a\x1b[2J", "CON", "aux.c", "C:\\x", "x.", "x ", "a\\b"]
        {
            assert!(matches!(class(path), Class::OddName(_)), "{path:?}: {:?}", class(path));
        }
        let kept = change("aux.c", Some(file(false)), Some(file(false)));
        let folder = tempfile::tempdir().unwrap();
        let root = Confined::open(folder.path()).unwrap();
        assert_eq!(Classifier::new(&root, &[]).classify(&kept), Class::Safe);
    }

    #[test]
    fn two_names_that_may_be_one_file_are_held_back() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("README.md"), "").unwrap();
        let root = Confined::open(folder.path()).unwrap();
        let changes = ["readme.MD", "caf\u{e9}", "cafe\u{301}", "other"]
            .map(|path| change(path, None, Some(file(false))));
        let mut classifier = Classifier::new(&root, &changes);
        let classes: Vec<_> = changes.iter().map(|change| classifier.classify(change)).collect();
        let odd = |other: &str| Class::OddName(format!("some file systems take it for {other}"));
        assert_eq!(classes, [odd("README.md"), odd("cafe\u{301}"), odd("caf\u{e9}"), Class::Safe]);
    }

    #[test]
    fn a_folder_with_another_spelling_is_held_back() {
        let folder = tempfile::tempdir().unwrap();
        for place in ["src/deep", "both", "BOTH"] {
            std::fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        let root = Confined::open(folder.path()).unwrap();
        let paths =
            ["SRC/auth.rs", "src/Deep/x", "src/deep/x", "both/x", "new/a", "new/b", "NEW/c", "other/x"];
        let changes = paths.map(|path| change(path, None, Some(file(false))));
        let mut classifier = Classifier::new(&root, &changes);
        let others = changes.each_ref().map(|change| match classifier.classify(change) {
            Class::OddName(reason) => reason.replace("some file systems take it for ", ""),
            Class::Safe => "-".to_owned(),
            other => panic!("{other:?}"),
        });
        assert_eq!(others, ["src", "SRC", "SRC", "-", "NEW", "NEW", "new", "-"]);
        let alone = [change("src/Deep/x", None, Some(file(false)))];
        let held = Class::OddName("some file systems take it for src/deep".to_owned());
        assert_eq!(Classifier::new(&root, &alone).classify(&alone[0]), held);
    }

    #[test]
    fn nothing_makes_a_folder_a_git_repository() {
        let link = || Some(Entry::Symlink(Target::parse(b"refs/heads/main").unwrap()));
        let here = tempfile::tempdir().unwrap();
        std::fs::create_dir(here.path().join("bare")).unwrap();
        std::fs::write(here.path().join("bare/HEAD"), "").unwrap();
        let root = Confined::open(here.path()).unwrap();
        let changes = [
            ("docs/HEAD", None, link(), true),
            ("docs/config", None, Some(file(false)), true),
            ("docs/CommonDir", None, Some(file(false)), true),
            ("docs/objects", None, Some(Entry::Directory), false),
            ("docs/config.toml", None, Some(file(false)), false),
            ("bare/config", None, Some(file(false)), true),
            ("bare/config.worktree", Some(file(false)), link(), true),
            ("bare/HEAD", Some(file(false)), link(), true),
            ("bare/config/x", None, Some(file(false)), false),
            ("head/config", None, Some(file(false)), false),
            ("head", None, Some(Entry::Directory), false),
        ];
        let expected = changes.each_ref().map(|(.., held)| *held);
        let changes = changes.map(|(path, base, now, _)| change(path, base, now));
        let mut classifier = Classifier::new(&root, &changes);
        let held = changes.each_ref().map(|change| matches!(classifier.classify(change), Class::RunsHere(_)));
        assert_eq!(held, expected);
    }

    #[test]
    fn a_folder_counts_only_where_everything_in_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let root = Confined::open(folder.path()).unwrap();
        let mut classifier = Classifier::new(&root, &[]);
        assert_eq!(classifier.classify(&change("build", None, Some(Entry::Directory))), Class::Safe);
        let held = classifier.classify(&change(".vscode", None, Some(Entry::Directory)));
        assert!(matches!(held, Class::RunsHere(_)));
    }

    #[test]
    fn only_a_new_executable_bit_is_held_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = Confined::open(folder.path()).unwrap();
        let mut classifier = Classifier::new(&root, &[]);
        let held = Class::RunsHere("it becomes executable");
        assert_eq!(classifier.classify(&change("tool", None, Some(file(true)))), held);
        assert_eq!(classifier.classify(&change("tool", Some(file(false)), Some(file(true)))), held);
        assert_eq!(classifier.classify(&change("tool", Some(file(true)), Some(file(true)))), Class::Safe);
        assert_eq!(classifier.classify(&change("tool", Some(file(true)), Some(file(false)))), Class::Safe);
    }
}
