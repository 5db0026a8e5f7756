//! Turns one defence at a time off, and shows which cases of the red team go red: a defence whose absence nobody notices is none.
//!
//! Works on a copy of the tree, with a target folder of its own: the crates' own tests run there, and whatever of the installation lacks
//! the defence is made of it, which the red team then attacks in the lab. Needs the lab with ws installed from the chart. Arguments pick
//! defences by a part of their text, whose rows of the results are written anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, iter,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use ws_tests::{lab::Lab, redteam::codes};

use self::{
    attack::{Attack, Part},
    tree::Tree,
};

mod attack;
mod tree;

/// Those of the way out, and those of what a workspace is in.
const DEFENCES: [&str; 3] =
    [include_str!("defences.yaml"), include_str!("web_sockets.yaml"), include_str!("containment.yaml")];
const RESULTS: &str = "tests/mutations/results.md";
const HEAD: &str = "# What goes red when a defence is off\n\nWritten by `make redteam-mutations`. The cases are those of the \
                    [red team](../redteam.md) whose tests fail without it, in the lab or beside the code.\n\n\
                    | defence that is off | cases that go red | tests that fail |\n|---|---|---|\n";
/// Tests of a row that are named.
const SHOWN: usize = 3;

/// Names of tests that failed, each with what it printed.
type Failures = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    defence: String,
    /// Of the red team: those that are tried in the lab, where that part of the installation lacks it which the file is of. Tests without a
    /// code are named by how they begin.
    cases: Vec<String>,
    file: PathBuf,
    /// Stands in the file once.
    find: String,
    replace: String,
    /// What has to be changed beside it, so that an attack is seen which something else would stop.
    #[serde(default)]
    also: Vec<Edit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: PathBuf,
    find: String,
    replace: String,
}

impl Mutation {
    /// All changes: a file, what is looked for there, and what takes its place.
    fn edits(&self) -> impl Iterator<Item = (&Path, &str, &str)> {
        let Self { file, find, replace, also, .. } = self;
        let first = (file.as_path(), find.as_str(), replace.as_str());
        let others = also.iter().map(|Edit { file, find, replace }| (file.as_path(), &**find, &**replace));
        iter::once(first).chain(others)
    }

    /// What of the installation lacks the defence.
    fn parts(&self) -> Result<BTreeSet<Part>> {
        self.edits().map(|(file, ..)| Part::of(file)).collect()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let all = defences()?;
    let root = output(Command::new("git").args(["rev-parse", "--show-toplevel"]))?;
    let root = Path::new(root.trim());
    let (tree, lab) = (Tree::copy(root)?, Lab::running().await?);
    for mutation in &all {
        tree.without(mutation)?.undo()?;
    }
    let is_chosen = |mutation: &&Mutation| {
        parts.is_empty() || parts.iter().any(|part| mutation.defence.contains(part.as_str()))
    };
    let chosen: Vec<&Mutation> = all.iter().filter(is_chosen).collect();
    let mut attack = Attack::on(&lab, root)?;
    let shown = show(&chosen, &all, &tree, &mut attack, &root.join(RESULTS)).await;
    let restored = attack.restore().await;
    shown.and(restored)
}

fn defences() -> Result<Vec<Mutation>> {
    let mut all = Vec::new();
    for list in DEFENCES {
        all.extend(serde_yaml::from_str::<Vec<Mutation>>(list)?);
    }
    Ok(all)
}

/// Tries the chosen defences, and writes their rows.
#[expect(clippy::print_stdout, reason = "that is what it is for")]
async fn show(
    chosen: &[&Mutation],
    all: &[Mutation],
    tree: &Tree,
    attack: &mut Attack<'_>,
    results: &Path,
) -> Result<()> {
    let noticed = with_all(chosen, tree, attack).await?;
    ensure!(noticed.is_empty(), "with all defences on, these fail: {}", told(&noticed));

    let mut rows = BTreeMap::new();
    let (mut unnoticed, mut untried) = (0, Vec::new());
    for mutation in chosen {
        let noticed = match without(mutation, tree, attack).await {
            Ok(noticed) => noticed,
            // The others have their rows all the same.
            Err(error) => {
                untried.push(format!("{}: {error:#}", mutation.defence));
                continue;
            }
        };
        unnoticed += usize::from(noticed.is_empty());
        let row = row(mutation, &noticed);
        print!("{row}");
        rows.insert(mutation.defence.as_str(), row);
        let before = fs::read_to_string(results).unwrap_or_default();
        fs::write(results, table(all, &rows, &before))?;
    }
    ensure!(untried.is_empty(), "these could not be tried:\n{}", untried.join("\n"));
    ensure!(unnoticed == 0, "{unnoticed} defences may be off unnoticed");
    Ok(())
}

/// The tests that fail with all defences on, each where the parts are made of the tree that are when it is tried.
async fn with_all(chosen: &[&Mutation], tree: &Tree, attack: &mut Attack<'_>) -> Result<Failures> {
    let mut cases: BTreeMap<BTreeSet<Part>, BTreeSet<&str>> = BTreeMap::new();
    for mutation in chosen.iter().filter(|mutation| !mutation.cases.is_empty()) {
        cases.entry(mutation.parts()?).or_default().extend(mutation.cases.iter().map(String::as_str));
    }
    let mut failed = tree.failed()?;
    for (parts, cases) in cases {
        attack.deploy(tree, &parts).await?;
        failed.extend(attack.failed(cases)?);
    }
    Ok(failed)
}

/// The tests that fail without a defence.
async fn without(mutation: &Mutation, tree: &Tree, attack: &mut Attack<'_>) -> Result<Failures> {
    let off = tree.without(mutation)?;
    let noticed = noticed(mutation, tree, attack).await;
    off.undo()?;
    noticed
}

/// The tests that fail with the tree as it is.
async fn noticed(mutation: &Mutation, tree: &Tree, attack: &mut Attack<'_>) -> Result<Failures> {
    let mut noticed = tree.failed()?;
    if !mutation.cases.is_empty() {
        attack.deploy(tree, &mutation.parts()?).await?;
        noticed.extend(attack.failed(mutation.cases.iter().map(String::as_str))?);
    }
    Ok(noticed)
}

/// The rows of all defences, as far as they are known: new ones, and those of the results `before`.
fn table(all: &[Mutation], rows: &BTreeMap<&str, String>, before: &str) -> String {
    let known = |mutation: &Mutation| {
        let start = format!("| {} |", mutation.defence);
        let before = || before.lines().find(|line| line.starts_with(&start)).map(|line| format!("{line}\n"));
        rows.get(mutation.defence.as_str()).cloned().or_else(before)
    };
    all.iter().filter_map(known).fold(HEAD.to_owned(), |table, row| table + &row)
}

fn row(mutation: &Mutation, noticed: &Failures) -> String {
    let cases: BTreeSet<String> = noticed.keys().flat_map(|test| codes(last(test))).collect();
    let cases: Vec<String> = cases.into_iter().collect();
    let tests: BTreeSet<&str> = noticed.keys().map(|test| last(test)).collect();
    let mut tests: Vec<&str> = tests.into_iter().collect();
    // What is named after a case says most.
    tests.sort_by_key(|test| codes(test).next().is_none());
    let more = format!("and {} more", tests.len().saturating_sub(SHOWN));
    if tests.len() > SHOWN {
        tests.truncate(SHOWN);
        tests.push(&more);
    }
    let or_none = |list: String| if list.is_empty() { "**none**".to_owned() } else { list };
    let (cases, tests) = (or_none(cases.join(", ")), or_none(tests.join(", ")));
    format!("| {} | {cases} | {tests} |\n", mutation.defence)
}

fn last(test: &str) -> &str {
    test.rsplit("::").next().unwrap_or(test)
}

/// The tests that failed, as cargo prints them.
fn failures(printed: &str) -> Failures {
    let why = |name: &str| {
        let (_, text) = printed.split_once(&format!("\n---- {name} stdout ----\n"))?;
        Some(text.split("\n---- ").next()?.split("\nfailures:\n").next()?.trim().to_owned())
    };
    let name = |line: &'_ str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    printed.lines().filter_map(name).map(|name| (name.clone(), why(&name).unwrap_or_default())).collect()
}

/// The failures with their reasons, for people.
fn told(failures: &Failures) -> String {
    failures.iter().map(|(test, why)| format!("\n{test}:\n{why}\n")).collect::<Vec<_>>().concat()
}

/// What a command printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_tells_the_cases_that_it_is_named_after_whatever_it_is_in() {
        for (test, expected) in [
            ("spellings::b03_b04_a_name_is_the_connections", &["B03", "B04"][..]),
            ("proxy::tests::b20_many_requests", &["B20"]),
            ("a_b12_is_no_case", &[]),
        ] {
            assert_eq!(codes(last(test)).collect::<Vec<_>>(), expected, "{test}");
        }
    }

    #[test]
    fn each_defence_is_found_once() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let all = defences().unwrap();
        for mutation in &all {
            for (file, find, _) in mutation.edits() {
                let found = fs::read_to_string(root.join(file)).unwrap().matches(find).count();
                assert_eq!(found, 1, "{}: `{find}` in {}", mutation.defence, file.display());
            }
            mutation.parts().unwrap();
        }
        let texts: BTreeSet<_> = all.iter().map(|mutation| &mutation.defence).collect();
        assert_eq!(texts.len(), all.len());
    }

    #[test]
    fn what_failed_is_read_from_what_cargo_prints() {
        let printed = "test a::b ... ok\ntest a::c ... FAILED\n\nfailures:\n\n---- a::c stdout ----\ntest x ... FAILED it said\n\n\n\
                       failures:\n    a::c\n";
        let expected = ("a::c".to_owned(), "test x ... FAILED it said".to_owned());
        assert_eq!(failures(printed).into_iter().collect::<Vec<_>>(), [expected]);
    }
}
