//! `tests/redteam.md` explains the codes that tests are named after: each of them, and none that nothing tries. Needs no cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use ws_tests::redteam::codes;

const EXPLAINED: &str = include_str!("redteam.md");
/// Where tests are.
const FOLDERS: [&str; 3] = ["cli", "operator", "tests"];
/// What is not the repository's own.
const FOREIGN: [&str; 2] = ["node_modules", "target"];

/// All files of Rust below a folder.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if !FOREIGN.iter().any(|foreign| name == *foreign) {
                found.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The names of functions in a text.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?.split(['(', '<']).next()
    })
}

/// Each test that is named after a code, with the files that it is in.
fn tests() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in FOLDERS {
        for file in sources(&root.join(folder))? {
            let text = fs::read_to_string(&file)?;
            let path = file.strip_prefix(&root)?.display().to_string();
            for name in functions(&text).filter(|name| codes(name).next().is_some()) {
                tests.entry(name.to_owned()).or_default().insert(path.clone());
            }
        }
    }
    Ok(tests)
}

/// The codes that have a row, each with its row.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows =
        EXPLAINED.lines().filter_map(|line| Some((line.strip_prefix("| ")?.split_once(" |")?.0, line)));
    rows.filter(|(code, _)| codes(&code.to_lowercase()).next().is_some())
}

#[test]
fn each_code_that_a_test_is_named_after_is_explained_once() -> Result<()> {
    let rows: Vec<&str> = rows().map(|(code, _)| code).collect();
    let explained: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(explained.len(), rows.len(), "a code has two rows");
    let tests = tests()?;
    let used: BTreeSet<String> = tests.keys().flat_map(|name| codes(name)).collect();
    let missing: Vec<_> = used.iter().filter(|code| !explained.contains(code.as_str())).collect();
    ensure!(missing.is_empty(), "tests/redteam.md does not explain {missing:?}");
    let untried: Vec<_> = explained.iter().filter(|code| !used.contains(**code)).collect();
    ensure!(untried.is_empty(), "no test tries {untried:?}");
    for (group, last) in [('A', 13), ('B', 28)] {
        for number in 1..=last {
            let code = format!("{group}{number:02}");
            ensure!(explained.contains(code.as_str()), "{code} has no row");
        }
    }
    Ok(())
}

#[test]
fn a_row_names_the_files_in_which_its_attack_is_tried() -> Result<()> {
    let tests = tests()?;
    for (code, row) in rows() {
        let of_code = tests.iter().filter(|(name, _)| codes(name).any(|of| of == code));
        let tried: BTreeSet<&str> = of_code.flat_map(|(_, files)| files).map(String::as_str).collect();
        let cell = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default();
        let named: BTreeSet<&str> = cell.split('`').skip(1).step_by(2).collect();
        ensure!(named == tried, "{code} is tried in {tried:?}");
    }
    Ok(())
}

#[test]
fn a_functions_name_is_read_where_it_is_written() {
    let text = "    async fn b03_b04_a_name_is_the_connections() -> Result<()> {\nfn g03_a<T>() {}\n// fn a01_no()\n";
    let names: Vec<&str> = functions(text).collect();
    assert_eq!(names, ["b03_b04_a_name_is_the_connections", "g03_a"]);
}
