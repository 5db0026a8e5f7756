//! A project as somebody sends it to a pod: whatever arrives, nothing is written outside of its folder.

#![no_main]

use std::{fs, path::Path};

use libfuzzer_sys::fuzz_target;
use ws_tree::{Confined, Entry, Limits, receive};

const LIMITS: Limits = Limits { bytes: 64 << 10, entries: 50, names: 2 << 10, depth: 8 };

fuzz_target!(|bytes: &[u8]| {
    let Some((form, records)) = bytes.split_first() else { return };
    let frames =
        if form & 1 == 0 { zstd::bulk::compress(records, 1).expect("it fits") } else { records.to_vec() };
    let stream = [&b"wstree\x01p"[..], &frames].concat();
    let place = tempfile::tempdir().expect("a folder");
    let inside = place.path().join("project");
    fs::create_dir(&inside).expect("a folder");
    let received = receive(stream.as_slice(), &Confined::open(&inside).expect("the folder"), &LIMITS);
    let beside = fs::read_dir(place.path()).expect("the folder").count();
    assert_eq!(beside, 1, "something was written beside the project");
    let found = count(&inside);
    assert!(found <= 50);
    if let Ok(received) = received {
        assert_eq!(received.manifest.len(), found);
        for (path, entry) in &received.manifest {
            let metadata = fs::symlink_metadata(inside.join(path.to_path())).expect("it was written");
            let is_so = match entry {
                Entry::Directory => metadata.is_dir(),
                Entry::File(file) => metadata.is_file() && metadata.len() == file.size,
                Entry::Symlink(target) => metadata.is_symlink() && target.stays_inside(path),
            };
            assert!(is_so, "{path}");
        }
    }
});

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| 1 + if entry.file_type().expect("a type").is_dir() { count(&entry.path()) } else { 0 })
        .sum()
}
