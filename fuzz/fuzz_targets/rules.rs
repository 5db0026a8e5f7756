//! Ignore files of a project: they mean to ws what they mean to another reader of git's patterns, wherever they stand. An input is an
//! ignore file and a path.

#![no_main]

use std::{fs, path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use ws_tree::{
    Confined, TreePath,
    rules::{Rules, Verdict},
};

use crate::{parts::parts, patterns::is_ignored};

mod parts;
mod patterns;

static PROJECT: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|bytes: &[u8]| {
    let [patterns, path] = parts(bytes);
    let Ok(path) = TreePath::parse(path) else { return };
    for is_directory in [false, true] {
        let empty = rules().with_exclude(patterns).verdict(&path, is_directory);
        let (git, warnings) = verdict(".gitignore", patterns, &path, is_directory);
        let (ws, same) = verdict(".wsignore", patterns, &path, is_directory);
        assert_eq!((git, warnings), (empty, same), "where patterns stand means nothing");
        assert_eq!(ws == Verdict::WsIgnored, git == Verdict::GitIgnored);
        // What this reader does not know.
        let text = str::from_utf8(patterns).unwrap_or("\\");
        let is_plain = |line: &str| line.trim_end_matches(' ') == line.trim_end() && !line.contains("***");
        let lines = || text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_ascii() && !text.contains(['\\', '[', '\0']) && lines().all(is_plain) {
            assert_eq!(warnings, 0, "each line is a pattern");
            if let Ok(path) = str::from_utf8(path.as_bytes())
                && path.is_ascii()
            {
                let expected = is_ignored(lines(), path, is_directory);
                assert_eq!(git == Verdict::GitIgnored, expected, "{text:?} of {path:?}");
            }
        }
    }
});

fn rules() -> Rules {
    Rules::new(Confined::open(PROJECT.path()).expect("the folder"))
}

/// What a file of this name says of a path, and how many lines of it could not be used.
fn verdict(name: &str, patterns: &[u8], path: &TreePath, is_directory: bool) -> (Verdict, usize) {
    let file: &Path = &PROJECT.path().join(name);
    fs::write(file, patterns).expect("a file");
    let mut rules = rules();
    let verdict = rules.verdict(path, is_directory);
    fs::remove_file(file).expect("the file");
    (verdict, rules.warnings().len())
}
