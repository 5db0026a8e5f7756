//! How much a tree that somebody else sends may hold.

use std::fmt;

use crate::entry::Entry;
use crate::path::TreePath;

/// Bounds on a tree that is received or collected.
///
/// They are counted after decompression, and nothing is decompressed ahead of the count: however small its compressed
/// form, a tree costs the receiver at most `bytes` of disk, and `entries` and `names` of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content in all files together.
    pub bytes: u64,
    /// Files, folders, links and other records.
    pub entries: u64,
    /// Bytes of paths and of what links point at.
    pub names: u64,
    /// Components in a path.
    pub depth: usize,
}

impl Limits {
    /// For a project on its way into a pod, whose own disk limit is the bound that counts.
    pub const PROJECT: Self = Self { bytes: 64 << 30, entries: 2_000_000, names: 512 << 20, depth: 128 };
    /// For changes on their way to a laptop.
    pub const CHANGES: Self = Self { bytes: 1 << 30, entries: 200_000, names: 64 << 20, depth: 128 };
}

/// A bound that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Bytes(u64),
    Entries(u64),
    Names(u64),
    Depth(usize),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(limit) => write!(f, "more than {limit} bytes of content"),
            Self::Entries(limit) => write!(f, "more than {limit} entries"),
            Self::Names(limit) => write!(f, "more than {limit} bytes of names"),
            Self::Depth(limit) => write!(f, "folders nested deeper than {limit}"),
        }
    }
}

/// Counts a tree against its limits.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    entries: u64,
    names: u64,
    bytes: u64,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, names: 0, bytes: 0 }
    }

    /// Counts one entry, with the targets that come with it and its declared content.
    pub(crate) fn admit(&mut self, path: &TreePath, targets: u64, content: u64) -> Result<(), Exceeded> {
        self.entries = self.entries.saturating_add(1);
        self.names = self.names.saturating_add(path.as_bytes().len() as u64).saturating_add(targets);
        self.bytes = self.bytes.saturating_add(content);
        if path.components().count() > self.limits.depth {
            return Err(Exceeded::Depth(self.limits.depth));
        }
        if self.entries > self.limits.entries {
            return Err(Exceeded::Entries(self.limits.entries));
        }
        if self.names > self.limits.names {
            return Err(Exceeded::Names(self.limits.names));
        }
        if self.bytes > self.limits.bytes {
            return Err(Exceeded::Bytes(self.limits.bytes));
        }
        Ok(())
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }
}

/// Bytes of the target of a link; nothing for anything else.
pub(crate) fn target_bytes(entry: Option<&Entry>) -> u64 {
    if let Some(Entry::Symlink(target)) = entry { target.as_bytes().len() as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_over_a_bound_is_refused() {
        let limits = Limits { bytes: 10, entries: 2, names: 8, depth: 3 };
        let [path, deep, long] =
            [&b"a"[..], b"a/b/c/d", b"a23456789"].map(|path| TreePath::parse(path).unwrap());
        assert_eq!(Meter::new(limits).admit(&deep, 0, 0), Err(Exceeded::Depth(3)));
        assert_eq!(Meter::new(limits).admit(&path, 0, 11), Err(Exceeded::Bytes(10)));
        assert_eq!(Meter::new(limits).admit(&long, 0, 0), Err(Exceeded::Names(8)));
        assert_eq!(Meter::new(limits).admit(&path, 8, 0), Err(Exceeded::Names(8)));
        let mut meter = Meter::new(limits);
        assert_eq!(meter.admit(&path, 0, 10), Ok(()));
        assert_eq!(meter.admit(&path, 0, 0), Ok(()));
        assert_eq!(meter.admit(&path, 0, 0), Err(Exceeded::Entries(2)));
        assert_eq!(Meter::new(limits).admit(&path, u64::MAX, u64::MAX), Err(Exceeded::Names(8)));
        assert_eq!(Meter::new(limits).admit(&path, 0, u64::MAX), Err(Exceeded::Bytes(10)));
    }
}
