//! Turns one defence of the way out off at a time, and shows which tests notice: a defence whose absence nobody notices is none.
//!
//! Works on a copy of the tree, with a target folder of its own. Arguments pick defences by a part of their text.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

const DEFENCES: &str = include_str!("defences.yaml");
const RESULTS: &str = "tests/mutations/results.md";
/// The crates whose tests have to notice.
const CRATES: [&str; 3] = ["ws-policy", "ws-gateway", "ws-agent"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    defence: String,
    /// Of the red team.
    cases: Vec<String>,
    file: PathBuf,
    /// Stands in the file once.
    find: String,
    replace: String,
}

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() -> Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let defences: Vec<Mutation> = serde_yaml::from_str(DEFENCES)?;
    let is_chosen = |defence: &Mutation| {
        chosen.is_empty() || chosen.iter().any(|part| defence.defence.contains(part.as_str()))
    };
    let root = PathBuf::from(output(Command::new("git").args(["rev-parse", "--show-toplevel"]))?.trim());
    let copy = tempfile::tempdir()?;
    let tree = copy.path();
    let archive = format!("git ls-files -z | xargs -0 cp --parents -t '{}'", tree.display());
    output(Command::new("sh").args(["-c", &archive]).current_dir(&root))?;
    let target = root.join("target/mutations");
    let noticed = failed(tree, &target)?;
    ensure!(noticed.is_empty(), "with all defences on, these fail: {noticed:?}");
    let mut table = String::from("| defence that is off | cases | tests that notice |\n|---|---|---|\n");
    let mut unnoticed = 0;
    for defence in defences.iter().filter(|defence| is_chosen(defence)) {
        let noticed = without(defence, tree, &target).with_context(|| defence.defence.clone())?;
        unnoticed += usize::from(noticed.is_empty());
        let tests = if noticed.is_empty() { "**none**".to_owned() } else { listed(&noticed) };
        let row = format!("| {} | {} | {tests} |\n", defence.defence, defence.cases.join(", "));
        print!("{row}");
        table.push_str(&row);
    }
    if chosen.is_empty() {
        let head = "# Which tests notice that a defence is off\n\nWritten by `make redteam-mutations`.\n\n";
        fs::write(root.join(RESULTS), format!("{head}{table}"))?;
    }
    ensure!(unnoticed == 0, "{unnoticed} defences may be off unnoticed");
    Ok(())
}

/// The tests that fail without a defence.
fn without(defence: &Mutation, tree: &Path, target: &Path) -> Result<BTreeSet<String>> {
    let file = tree.join(&defence.file);
    let code = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let places = code.matches(&defence.find).count();
    ensure!(places == 1, "`{}` stands {places} times in {}", defence.find, defence.file.display());
    fs::write(&file, code.replace(&defence.find, &defence.replace))?;
    let noticed = failed(tree, target);
    fs::write(&file, code)?;
    noticed
}

/// The names of the tests that fail in a tree.
fn failed(tree: &Path, target: &Path) -> Result<BTreeSet<String>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--locked", "--lib", "--no-fail-fast"]).current_dir(tree);
    cargo.env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", "--cap-lints=allow");
    cargo.args(CRATES.iter().flat_map(|name| ["-p", name]));
    let output = cargo.output().context("starting cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = text.matches("test result: ").count();
    if ran < CRATES.len() {
        bail!("it does not compile: {}", String::from_utf8_lossy(&output.stderr));
    }
    let name = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    Ok(text.lines().filter_map(name).collect())
}

fn listed(tests: &BTreeSet<String>) -> String {
    const SHOWN: usize = 3;
    let mut names: Vec<&str> =
        tests.iter().take(SHOWN).map(|name| name.rsplit("::").next().unwrap_or(name)).collect();
    let more = format!("and {} more", tests.len().saturating_sub(SHOWN));
    if tests.len() > SHOWN {
        names.push(&more);
    }
    names.join(", ")
}

/// What a command printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
