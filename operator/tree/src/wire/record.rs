//! One record of a stream.

use std::io::Read;

use super::WireError;
use super::primitive::{
    put_bytes, put_entry, put_number, take_byte, take_digest, take_entry, take_flag, take_number, take_path,
    take_target,
};
use crate::digest::Digest;
use crate::entry::{Entry, SpecialKind, Target, Timestamp};
use crate::path::TreePath;

const DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const SYMLINK: u8 = 3;
const REMOVED: u8 = 4;
const SPECIAL: u8 = 5;
const END: u8 = 6;
const HAS_BASE: u8 = 0x80;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Located(Located),
    End(End),
}

/// What a record says about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) path: TreePath,
    /// What stood there in the baseline; only in a stream of changes.
    pub(crate) base: Option<Entry>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Directory,
    /// Followed by `size` bytes and a [`FileTrailer`].
    File(FileHeader),
    Symlink(Target),
    Removed,
    Special(SpecialKind),
}

impl Body {
    /// Bytes of the target of a link; nothing for anything else.
    pub(crate) fn target_bytes(&self) -> u64 {
        if let Self::Symlink(target) = self { target.as_bytes().len() as u64 } else { 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) executable: bool,
    pub(crate) modified: Timestamp,
    pub(crate) size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileTrailer {
    pub(crate) digest: Digest,
    /// The file changed while it was read: the content is what was seen, cut or padded to the declared size.
    pub(crate) altered: bool,
}

/// The last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Records before this one.
    pub(crate) records: u64,
    /// In a project, the manifest's digest; in changes, the digest of the manifest they are changes of.
    pub(crate) manifest: Digest,
}

impl Located {
    pub(crate) fn new(path: TreePath, body: Body) -> Self {
        Self { path, base: None, body }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let tag = match self.body {
            Body::Directory => DIRECTORY,
            Body::File(_) => FILE,
            Body::Symlink(_) => SYMLINK,
            Body::Removed => REMOVED,
            Body::Special(_) => SPECIAL,
        };
        out.push(if self.base.is_some() { tag | HAS_BASE } else { tag });
        put_bytes(out, self.path.as_bytes());
        if let Some(base) = &self.base {
            put_entry(out, base);
        }
        match &self.body {
            Body::Directory | Body::Removed => {}
            Body::File(header) => header.encode(out),
            Body::Symlink(target) => put_bytes(out, target.as_bytes()),
            Body::Special(kind) => out.push(special_code(*kind)),
        }
    }
}

impl Record {
    /// Reads one record up to, but without, a file's content.
    pub(crate) fn decode(input: &mut impl Read) -> Result<Self, WireError> {
        let tag = take_byte(input)?;
        if tag == END {
            return Ok(Self::End(End { records: take_number(input)?, manifest: take_digest(input)? }));
        }
        let path = take_path(input)?;
        let base = if tag & HAS_BASE == 0 { None } else { Some(take_entry(input)?) };
        let body = match tag & !HAS_BASE {
            DIRECTORY => Body::Directory,
            FILE => Body::File(FileHeader::decode(input)?),
            SYMLINK => Body::Symlink(take_target(input)?),
            REMOVED => Body::Removed,
            SPECIAL => Body::Special(special_kind(take_byte(input)?)?),
            _ => return Err(WireError::Malformed("a record of unknown kind")),
        };
        Ok(Self::Located(Located { path, base, body }))
    }
}

impl End {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(END);
        put_number(out, self.records);
        out.extend_from_slice(self.manifest.as_bytes());
    }
}

impl FileHeader {
    fn encode(self, out: &mut Vec<u8>) {
        out.push(u8::from(self.executable));
        put_number(out, zigzag(self.modified.seconds));
        put_number(out, u64::from(self.modified.nanoseconds));
        put_number(out, self.size);
    }

    fn decode(input: &mut impl Read) -> Result<Self, WireError> {
        let executable = take_flag(input)?;
        let seconds = unzigzag(take_number(input)?);
        let nanoseconds = take_number(input)?;
        let nanoseconds = u32::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000);
        let nanoseconds = nanoseconds.ok_or(WireError::Malformed("a time is not valid"))?;
        Ok(Self { executable, modified: Timestamp { seconds, nanoseconds }, size: take_number(input)? })
    }
}

impl FileTrailer {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.digest.as_bytes());
        out.push(u8::from(self.altered));
    }

    pub(crate) fn decode(input: &mut impl Read) -> Result<Self, WireError> {
        Ok(Self { digest: take_digest(input)?, altered: take_flag(input)? })
    }
}

/// Maps small negative numbers to small numbers.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn special_code(kind: SpecialKind) -> u8 {
    match kind {
        SpecialKind::Fifo => 1,
        SpecialKind::Socket => 2,
        SpecialKind::Device => 3,
        SpecialKind::OutsideLink => 4,
        SpecialKind::Unreadable => 5,
        SpecialKind::OversizedPath => 6,
    }
}

fn special_kind(code: u8) -> Result<SpecialKind, WireError> {
    match code {
        1 => Ok(SpecialKind::Fifo),
        2 => Ok(SpecialKind::Socket),
        3 => Ok(SpecialKind::Device),
        4 => Ok(SpecialKind::OutsideLink),
        5 => Ok(SpecialKind::Unreadable),
        6 => Ok(SpecialKind::OversizedPath),
        _ => Err(WireError::Malformed("a special file of unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::FileEntry;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_record_survives_the_wire() {
        let file = FileHeader {
            executable: true,
            modified: Timestamp { seconds: -5, nanoseconds: 999_999_999 },
            size: 5 << 30,
        };
        let base = Entry::File(FileEntry { executable: false, size: 3, digest: Digest::of(b"abc") });
        let bodies = [
            Body::Directory,
            Body::File(file),
            Body::Symlink(Target::parse(b"../x").unwrap()),
            Body::Removed,
            Body::Special(SpecialKind::Fifo),
        ];
        for body in bodies {
            for base in [None, Some(Entry::Directory), Some(base.clone())] {
                let record = Located { path: path("a/b"), base, body: body.clone() };
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                assert_eq!(Record::decode(&mut bytes.as_slice()).unwrap(), Record::Located(record));
                for end in 0..bytes.len() {
                    assert!(matches!(Record::decode(&mut &bytes[..end]), Err(WireError::Truncated)));
                }
            }
        }
    }

    #[test]
    fn seconds_before_1970_survive() {
        for seconds in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(seconds)), seconds);
        }
    }

    #[test]
    fn unknown_codes_are_refused() {
        for bytes in [&b"\x09\x01a"[..], b"\x05\x01a\x09", b"\x02\x01a\x02\0\0\0", b"\x81\x01a\x07"] {
            assert!(matches!(Record::decode(&mut &*bytes), Err(WireError::Malformed(_))), "{bytes:?}");
        }
    }
}
