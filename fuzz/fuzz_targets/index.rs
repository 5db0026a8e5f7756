//! Indexes of git that came with a project: whatever is in them, the names are paths inside of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_tree::TreePath;

#[path = "../../cli/src/project/index.rs"]
mod index;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tracked) = index::tracked(bytes) else { return };
    // An entry takes at least its fixed part.
    assert!(tracked.len() <= bytes.len() / 62);
    for path in &tracked {
        assert_eq!(TreePath::parse(path.as_bytes()).as_ref(), Ok(path));
    }
});
