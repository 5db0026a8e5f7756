//! Manifests, receipts, paths and link targets of a tree: what is accepted has one encoding and stays inside the project.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_tree::{Entry, Limits, Manifest, Receipt, Target, TreePath};

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 1_000, names: 64 << 10, depth: 128 };

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::decode(bytes, &LIMITS) {
        let encoded = manifest.encode();
        assert!(bytes.starts_with(&encoded), "it has one encoding");
        assert_eq!(Manifest::decode(encoded.as_slice(), &LIMITS).expect("its own encoding"), manifest);
        assert!(manifest.len() <= 1_000);
        for (path, entry) in &manifest {
            is_inside(path);
            if let Entry::Symlink(target) = entry {
                leads_inside(path, target);
            }
        }
    }
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert!(bytes.starts_with(&receipt.encode()));
    }
    let (link, target) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    if let Ok(link) = TreePath::parse(link) {
        is_inside(&link);
        if let Ok(target) = Target::parse(target.get(1..).unwrap_or_default()) {
            leads_inside(&link, &target);
        }
    }
});

fn is_inside(path: &TreePath) {
    let bytes = path.as_bytes();
    assert_eq!(path.components().collect::<Vec<_>>().join(&b'/'), bytes);
    assert!(bytes.len() <= TreePath::MAX_BYTES && path.components().count() <= TreePath::MAX_DEPTH);
    for component in path.components() {
        assert!(!matches!(component, b"" | b"." | b"..") && !component.contains(&0));
    }
    assert_eq!(TreePath::child(path.parent().as_ref(), path.name()).as_ref(), Ok(path));
    assert_eq!(path.folders().count(), path.components().count());
    assert!(path.ancestors().all(|folder| path.is_inside(&folder)));
}

/// What stays inside by its own account does so by the letter.
fn leads_inside(link: &TreePath, target: &Target) {
    if !target.stays_inside(link) {
        return;
    }
    let mut depth = link.components().count() - 1;
    for component in target.as_bytes().split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => depth = depth.checked_sub(1).expect("it climbs out of the project"),
            _ => depth += 1,
        }
    }
    assert!(!target.as_bytes().starts_with(b"/"));
}
