//! What a pod reports as changed: what is accepted is bounded, whole, and names each path once.

#![no_main]

use std::{fs::File, io::Read as _};

use libfuzzer_sys::fuzz_target;
use ws_tree::{Digest, Entry, Limits, TreePath, receive_changes};

const LIMITS: Limits = Limits { bytes: 64 << 10, entries: 100, names: 4 << 10, depth: 16 };

thread_local! {
    static SPOOL: File = tempfile::tempfile().expect("a file");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((form, records)) = bytes.split_first() else { return };
    // As the records are, or as the compressed bytes are.
    let frames =
        if form & 1 == 0 { zstd::bulk::compress(records, 1).expect("it fits") } else { records.to_vec() };
    let stream = [&b"wstree\x01c"[..], &frames].concat();
    let spool = SPOOL.with(|spool| {
        spool.set_len(0).expect("it is a file");
        spool.try_clone().expect("a handle")
    });
    let Ok(set) = receive_changes(stream.as_slice(), None, spool, &LIMITS) else { return };
    assert!(set.changes.len() + set.unsupported.len() <= 100);
    assert!(set.changes.is_sorted_by(|one, next| one.path < next.path), "each path is there once");
    let mut total = 0;
    for change in &set.changes {
        assert!(change.path.components().count() <= 16);
        assert_eq!(TreePath::parse(change.path.as_bytes()).as_ref(), Ok(&change.path));
        if let Some(Entry::File(file)) = &change.now {
            let mut content = Vec::new();
            set.content(change)
                .expect("a file has its content")
                .read_to_end(&mut content)
                .expect("it is there");
            assert_eq!((content.len() as u64, Digest::of(&content)), (file.size, file.digest));
            total += file.size;
        }
    }
    assert!(total <= 64 << 10);
});
