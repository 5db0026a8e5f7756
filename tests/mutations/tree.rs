//! A copy of the tree, in which one defence at a time is off.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{Failures, Mutation, failures, output};

/// The crates whose own tests have to notice.
const CRATES: [&str; 4] = ["ws-policy", "ws-gateway", "ws-agent", "ws-operator"];
/// Beside those within them, of the policy's crate.
const REGISTRIES: &str = "registries";
/// The programs that their tests are in: that one, three libraries' and three servers'.
const PROGRAMS: usize = 7;
/// As in .cargo/config.toml, for the image holds nothing but the program. That code is left without use is the point.
const FLAGS: &str = "-C target-feature=+crt-static --cap-lints=warn";
/// What timeout(1) ends with when it had to end something.
const TIMED_OUT: i32 = 124;
/// Seconds that it may take to build the tests and run them. Without a defence, some might wait forever.
const LIMIT: &str = "900";

pub(crate) struct Tree {
    folder: TempDir,
    target: PathBuf,
}

/// Files that are to be as they were, the last changed first.
#[must_use]
pub(crate) struct Off(Vec<(PathBuf, String)>);

impl Tree {
    /// What git knows of the tree at `root`, as it is there now.
    pub(crate) fn copy(root: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let copy = format!("git ls-files -z | xargs -0 cp --parents -t '{}'", folder.path().display());
        output(Command::new("sh").args(["-c", &copy]).current_dir(root))?;
        Ok(Self { folder, target: root.join("target/mutations") })
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Turns a defence off.
    pub(crate) fn without(&self, mutation: &Mutation) -> Result<Off> {
        let mut off = Off(Vec::new());
        for (file, find, replace) in mutation.edits() {
            let file = self.root().join(file);
            let code = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let places = code.matches(find).count();
            ensure!(places == 1, "`{find}` stands {places} times in {}", file.display());
            fs::write(&file, code.replace(find, replace))?;
            off.0.insert(0, (file, code));
        }
        Ok(off)
    }

    /// The crates' own tests that fail, each with what it printed.
    pub(crate) fn failed(&self) -> Result<Failures> {
        let ran = self.cargo(&["test", "--lib", "--bins", "--test", REGISTRIES, "--no-fail-fast"])?;
        let printed = String::from_utf8_lossy(&ran.stdout);
        let mut failed = failures(&printed);
        if ran.status.code() == Some(TIMED_OUT) {
            failed.insert("the tests do not end".to_owned(), format!("after {LIMIT} seconds"));
        } else {
            let results = printed.matches("test result: ").count();
            ensure!(results == PROGRAMS, "it does not compile: {}", String::from_utf8_lossy(&ran.stderr));
        }
        Ok(failed)
    }

    /// One of the servers, built of it.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let built = self.cargo(&["build", "--bins"])?;
        ensure!(built.status.success(), "it does not compile: {}", String::from_utf8_lossy(&built.stderr));
        let host = output(Command::new("rustc").arg("-vV"))?;
        let host =
            host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        Ok(self.target.join(host).join("debug").join(name))
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Output> {
        let mut cargo = Command::new("timeout");
        cargo.args([LIMIT, "cargo"]).args(arguments).arg("--locked");
        cargo.args(CRATES.iter().flat_map(|name| ["-p", name])).current_dir(self.folder.path());
        cargo.env("CARGO_TARGET_DIR", &self.target).env("RUSTFLAGS", FLAGS);
        // What a snapshot should be is not written down: nobody looks at it here.
        cargo.env("CARGO_PROFILE_DEV_STRIP", "symbols").env("INSTA_UPDATE", "no");
        cargo.output().context("starting cargo")
    }
}

impl Off {
    pub(crate) fn undo(self) -> Result<()> {
        self.0.into_iter().try_for_each(|(file, code)| Ok(fs::write(file, code)?))
    }
}
