//! How much a tree that somebody else sends may hold.

use std::fmt;

/// Bounds on a tree that is received or collected.
///
/// They are counted after decompression, and nothing is decompressed ahead of the count: however small its compressed
/// form, a tree costs the receiver at most `bytes` of disk and `entries` of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content in all files together.
    pub bytes: u64,
    /// Files, folders, links and other records.
    pub entries: u64,
    /// Components in a path.
    pub depth: usize,
}

impl Limits {
    /// For a project on its way into a pod, whose own disk limit is the bound that counts.
    pub const PROJECT: Self = Self { bytes: 64 << 30, entries: 2_000_000, depth: 128 };
    /// For changes on their way to a laptop.
    pub const CHANGES: Self = Self { bytes: 1 << 30, entries: 200_000, depth: 128 };
}

/// A bound that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Bytes(u64),
    Entries(u64),
    Depth(usize),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(limit) => write!(f, "more than {limit} bytes of content"),
            Self::Entries(limit) => write!(f, "more than {limit} entries"),
            Self::Depth(limit) => write!(f, "folders nested deeper than {limit}"),
        }
    }
}

/// Counts a tree against its limits.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    entries: u64,
    bytes: u64,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, bytes: 0 }
    }

    /// Counts one entry at a depth, with its declared content.
    pub(crate) fn admit(&mut self, depth: usize, content: u64) -> Result<(), Exceeded> {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(content);
        if depth > self.limits.depth {
            return Err(Exceeded::Depth(self.limits.depth));
        }
        if self.entries > self.limits.entries {
            return Err(Exceeded::Entries(self.limits.entries));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_over_a_bound_is_refused() {
        let limits = Limits { bytes: 10, entries: 2, depth: 3 };
        assert_eq!(Meter::new(limits).admit(4, 0), Err(Exceeded::Depth(3)));
        assert_eq!(Meter::new(limits).admit(1, 11), Err(Exceeded::Bytes(10)));
        let mut meter = Meter::new(limits);
        assert_eq!(meter.admit(1, 10), Ok(()));
        assert_eq!(meter.admit(1, 0), Ok(()));
        assert_eq!(meter.admit(1, 0), Err(Exceeded::Entries(2)));
        assert_eq!(Meter::new(limits).admit(1, u64::MAX), Err(Exceeded::Bytes(10)));
    }
}
