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
const CRATES: [&str; 3] = ["ws-policy", "ws-gateway", "ws-agent"];
/// Beside those within them, of the policy's crate.
const REGISTRIES: &str = "registries";
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

/// A file that is to be as it was.
#[must_use]
pub(crate) struct Off {
    file: PathBuf,
    code: String,
}

impl Tree {
    /// What git knows of the tree at `root`, as it is there now.
    pub(crate) fn copy(root: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let copy = format!("git ls-files -z | xargs -0 cp --parents -t '{}'", folder.path().display());
        output(Command::new("sh").args(["-c", &copy]).current_dir(root))?;
        Ok(Self { folder, target: root.join("target/mutations") })
    }

    /// The file of a mutation as it is, and as it is with the defence off.
    pub(crate) fn mutated(&self, mutation: &Mutation) -> Result<(String, String)> {
        let Mutation { file, find, replace, .. } = mutation;
        let code =
            fs::read_to_string(self.folder.path().join(file)).with_context(|| file.display().to_string())?;
        let places = code.matches(find).count();
        ensure!(places == 1, "`{find}` stands {places} times in {}", file.display());
        let mutated = code.replace(find, replace);
        Ok((code, mutated))
    }

    /// Turns a defence off.
    pub(crate) fn without(&self, mutation: &Mutation) -> Result<Off> {
        let (code, mutated) = self.mutated(mutation)?;
        let file = self.folder.path().join(&mutation.file);
        fs::write(&file, mutated)?;
        Ok(Off { file, code })
    }

    /// The crates' own tests that fail, each with what it printed.
    pub(crate) fn failed(&self) -> Result<Failures> {
        let ran = self.cargo(&["test", "--lib", "--test", REGISTRIES, "--no-fail-fast"])?;
        let printed = String::from_utf8_lossy(&ran.stdout);
        let mut failed = failures(&printed);
        if ran.status.code() == Some(TIMED_OUT) {
            failed.insert("the tests do not end".to_owned(), format!("after {LIMIT} seconds"));
        } else {
            let results = printed.matches("test result: ").count();
            ensure!(
                results == CRATES.len() + 1,
                "it does not compile: {}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
        Ok(failed)
    }

    /// The gateway, built of it.
    pub(crate) fn gateway(&self) -> Result<PathBuf> {
        let built = self.cargo(&["build", "--bins"])?;
        ensure!(built.status.success(), "it does not compile: {}", String::from_utf8_lossy(&built.stderr));
        let host = output(Command::new("rustc").arg("-vV"))?;
        let host =
            host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
        Ok(self.target.join(host).join("debug/ws-gateway"))
    }

    fn cargo(&self, arguments: &[&str]) -> Result<Output> {
        let mut cargo = Command::new("timeout");
        cargo.args([LIMIT, "cargo"]).args(arguments).arg("--locked");
        cargo.args(CRATES.iter().flat_map(|name| ["-p", name])).current_dir(self.folder.path());
        cargo.env("CARGO_TARGET_DIR", &self.target).env("RUSTFLAGS", FLAGS);
        cargo.env("CARGO_PROFILE_DEV_STRIP", "symbols");
        cargo.output().context("starting cargo")
    }
}

impl Off {
    pub(crate) fn undo(self) -> Result<()> {
        Ok(fs::write(self.file, self.code)?)
    }
}
