//! Lockfiles that came with a project: what they name is bounded, and no name is made up. The first line of an input is what the file
//! is called.

#![no_main]

use std::{fs, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use ws_api::egress::Locked;
use ws_policy::package::normalized;

#[path = "../../cli/src/lockfiles.rs"]
mod lockfiles;

static PROJECT: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a folder"));

fuzz_target!(|input: &str| {
    let is_lockfile = |name: &str| lockfiles::LOCKFILES.iter().any(|(file, ..)| name == *file);
    let Some((name, text)) = input.split_once('\n').filter(|(name, _)| is_lockfile(name)) else { return };
    let file = PROJECT.path().join(name);
    fs::write(&file, text).expect("a file");
    let Locked { cargo, go, npm, pypi } = lockfiles::read(PROJECT.path());
    fs::remove_file(&file).expect("the file");
    for names in [&cargo, &go, &npm, &pypi] {
        assert!(names.len() <= Locked::MOST && names.is_sorted_by(|one, next| one < next), "{names:?}");
        assert!(names.iter().all(|name| !name.is_empty() && name.len() <= Locked::LONGEST), "{names:?}");
    }
    let lower = text.to_ascii_lowercase();
    assert!(cargo.iter().all(|name| lower.contains(&name.to_ascii_lowercase())), "{cargo:?}");
    // A `!` is written before each capital.
    let unmarked = |text: &str| text.to_ascii_lowercase().replace('!', "");
    assert!(go.iter().all(|name| unmarked(text).contains(&unmarked(name))), "{go:?}");
    // What is written with escapes, or folded as YAML may be, is not looked for.
    if !text.contains('\\') && name != "pnpm-lock.yaml" {
        assert!(npm.iter().all(|name| text.contains(name.as_str())), "{npm:?}");
        assert!(pypi.iter().all(|name| normalized(text).contains(name.as_str())), "{pypi:?}");
    }
});
