//! Streams that a liar would send.

use std::path::Path;

use super::*;
use crate::digest::Digest;
use crate::entry::SpecialKind;
use crate::wire::{FileTrailer, FrameEncoder};

/// Builds a stream record by record, true or not.
struct Forger {
    records: Vec<u8>,
    count: u64,
}

impl Forger {
    fn new() -> Self {
        Self { records: Vec::new(), count: 0 }
    }

    fn record(mut self, path: &str, body: Body) -> Self {
        self.count += 1;
        Located::new(TreePath::parse(path.as_bytes()).unwrap(), body).encode(&mut self.records);
        self
    }

    fn folder(self, path: &str) -> Self {
        self.record(path, Body::Directory)
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.record(path, Body::Symlink(Target::parse(target.as_bytes()).unwrap()))
    }

    fn file(self, path: &str, content: &[u8]) -> Self {
        self.file_with_digest(path, content, Digest::of(content))
    }

    fn file_with_digest(self, path: &str, content: &[u8], digest: Digest) -> Self {
        let header =
            FileHeader { executable: false, modified: Timestamp::default(), size: content.len() as u64 };
        let mut forger = self.record(path, Body::File(header));
        forger.records.extend_from_slice(content);
        FileTrailer { digest, altered: false }.encode(&mut forger.records);
        forger
    }

    /// A record whose path no `TreePath` can hold.
    fn raw_path(mut self, path: &[u8]) -> Self {
        self.count += 1;
        self.records.push(1);
        crate::wire::primitive::put_bytes(&mut self.records, path);
        self
    }

    fn end(mut self, manifest: &Manifest) -> Vec<u8> {
        End { records: self.count, manifest: manifest.digest() }.encode(&mut self.records);
        stream(&self.records)
    }
}

fn stream(records: &[u8]) -> Vec<u8> {
    let mut bytes = StreamKind::Project.magic().to_vec();
    bytes.extend_from_slice(FrameEncoder::new(1).unwrap().frame(records).unwrap());
    bytes
}

fn receive_into(folder: &Path, stream: &[u8]) -> Result<Received, ReceiveError> {
    receive(stream, &Confined::open(folder).unwrap(), &Limits::PROJECT)
}

fn receive_bytes(stream: &[u8]) -> Result<Received, ReceiveError> {
    receive_into(tempfile::tempdir().unwrap().path(), stream)
}

fn sample() -> Vec<u8> {
    let file = |content: &[u8]| {
        Entry::File(FileEntry { executable: false, size: content.len() as u64, digest: Digest::of(content) })
    };
    let path = |path: &str| TreePath::parse(path.as_bytes()).unwrap();
    let manifest: Manifest = [
        (path("d"), Entry::Directory),
        (path("d/f"), file(b"content")),
        (path("l"), Entry::Symlink(Target::parse(b"d/f").unwrap())),
    ]
    .into_iter()
    .collect();
    Forger::new().folder("d").file("d/f", b"content").link("l", "d/f").end(&manifest)
}

#[test]
fn an_honest_stream_is_received() {
    let received = receive_bytes(&sample()).unwrap();
    assert_eq!(received.receipt().entries, 3);
    assert_eq!(received.receipt().bytes, 7);
}

#[test]
fn a_stream_cut_at_any_byte_is_an_error() {
    let stream = sample();
    for end in 0..stream.len() {
        assert!(receive_bytes(&stream[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_stream_damaged_at_any_byte_is_an_error_or_the_same_tree() {
    let stream = sample();
    let whole = receive_bytes(&stream).unwrap().receipt();
    for position in 0..stream.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = stream.clone();
            damaged[position] ^= flip;
            if let Ok(received) = receive_bytes(&damaged) {
                assert_eq!(received.receipt(), whole, "{position}");
            }
        }
    }
}

#[test]
fn records_cut_at_any_byte_are_an_error() {
    let forger = Forger::new().folder("d").file("d/f", b"content").link("l", "d/f");
    for end in 0..forger.records.len() {
        assert!(receive_bytes(&stream(&forger.records[..end])).is_err(), "{end}");
    }
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    let deep = vec![b"a".as_slice(); 4096].join(&b'/');
    for path in
        [&b"/etc/passwd"[..], b"..", b"../x", b"a/../../b", b"./a", b"a//b", b"a/", b"", b"a\0b", &deep]
    {
        let stream = Forger::new().raw_path(path).end(&Manifest::default());
        let error = receive_bytes(&stream).unwrap_err();
        assert!(
            matches!(error, ReceiveError::Stream(WireError::Path(_) | WireError::Malformed(_))),
            "{error}"
        );
    }
}

#[test]
fn a_path_comes_once_and_after_its_folder() {
    let table = [
        (Forger::new().file("a", b"1").file("a", b"2"), Fault::Duplicate),
        (Forger::new().folder("a").folder("a"), Fault::Duplicate),
        (Forger::new().folder("a").link("a", "b"), Fault::Duplicate),
        (Forger::new().link("a", "b").folder("a"), Fault::Duplicate),
        (Forger::new().file("a/b", b"1"), Fault::NoFolder),
        (Forger::new().file("a", b"1").file("a/b", b"1"), Fault::NoFolder),
        (Forger::new().link("a", "d").file("a/b", b"1"), Fault::NoFolder),
        (Forger::new().link("a", "/etc"), Fault::OutsideLink),
        (Forger::new().folder("d").link("d/a", "../../x"), Fault::OutsideLink),
        (Forger::new().record("a", Body::Removed), Fault::Misplaced),
        (Forger::new().record("a", Body::Special(SpecialKind::Fifo)), Fault::Misplaced),
    ];
    for (forger, expected) in table {
        match receive_bytes(&forger.end(&Manifest::default())) {
            Err(ReceiveError::Refused { fault, .. }) => assert_eq!(fault, expected),
            other => panic!("{expected:?}: {other:?}"),
        }
    }
}

#[test]
fn content_must_have_its_digest_and_the_tree_its_manifest() {
    for size in [3, 3 << 20] {
        let content = vec![7; size];
        let wrong =
            Forger::new().file_with_digest("a", &content, Digest::of(b"other")).end(&Manifest::default());
        assert!(matches!(receive_bytes(&wrong), Err(ReceiveError::Stream(WireError::Digest { .. }))));
    }
    let other_tree = Forger::new().folder("a").end(&Manifest::default());
    assert!(matches!(receive_bytes(&other_tree), Err(ReceiveError::Incomplete)));
}

#[test]
fn what_exceeds_a_limit_is_refused_before_it_is_stored() {
    let root = tempfile::tempdir().unwrap();
    let confined = Confined::open(root.path()).unwrap();
    let header = FileHeader { executable: false, modified: Timestamp::default(), size: 1 << 40 };
    let huge = stream(&Forger::new().record("huge", Body::File(header)).records);
    let limits = Limits { bytes: 1 << 20, entries: 2, depth: 2, ..Limits::PROJECT };
    let error = receive(huge.as_slice(), &confined, &limits).unwrap_err();
    assert!(matches!(error, ReceiveError::TooLarge(Exceeded::Bytes(_))), "{error}");
    let many = stream(&Forger::new().folder("a").folder("b").folder("c").records);
    let error = receive(many.as_slice(), &confined, &limits).unwrap_err();
    assert!(matches!(error, ReceiveError::TooLarge(Exceeded::Entries(_))), "{error}");
    let deep = stream(&Forger::new().folder("d").folder("d/e").folder("d/e/f").records);
    std::fs::remove_dir_all(root.path().join("a")).unwrap();
    let error = receive(deep.as_slice(), &confined, &Limits { entries: 9, ..limits }).unwrap_err();
    assert!(matches!(error, ReceiveError::TooLarge(Exceeded::Depth(_))), "{error}");
}

#[test]
fn a_link_that_waits_in_the_folder_is_not_written_through() {
    let outside = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("d")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("new"), root.path().join("f")).unwrap();
    for forger in [Forger::new().folder("d").file("d/x", b"1"), Forger::new().file("f", b"1")] {
        let error = receive_into(root.path(), &forger.end(&Manifest::default())).unwrap_err();
        assert!(matches!(error, ReceiveError::Write { .. }), "{error}");
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_window_larger_than_ours_is_refused() {
    let mut bytes = StreamKind::Project.magic().to_vec();
    // Magic, no flags, window descriptor 2^41, one raw last block of one byte.
    bytes.extend_from_slice(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x09, 0x00, 0x00, 0x06]);
    assert!(matches!(receive_bytes(&bytes), Err(ReceiveError::Stream(WireError::Io(_)))));
}
