//! Files as they are read: what a file says it is, and what it turns out to be.

use std::fs::File;
use std::io::{self, Read};

use crate::confined::{Dir, Metadata};
use crate::wire::FileHeader;

/// An opened file.
pub(super) enum Opened {
    Small(SmallFile),
    Large(LargeFile),
}

/// A file that was read whole.
pub(super) struct SmallFile {
    pub(super) header: FileHeader,
    pub(super) content: Vec<u8>,
    pub(super) altered: bool,
}

/// A file that is to be read piece by piece, exactly as many bytes as it had when it was opened.
pub(super) struct LargeFile {
    pub(super) header: FileHeader,
    file: File,
    opened: Metadata,
    left: u64,
    shrank: bool,
}

impl Opened {
    /// Opens a file and, if it has at most `small` bytes, reads it.
    pub(super) fn open(folder: &Dir, name: &[u8], small: u64) -> io::Result<Self> {
        let (mut file, opened) = folder.open(name)?;
        let mut header =
            FileHeader { executable: opened.is_executable(), modified: opened.modified, size: opened.size };
        if opened.size > small {
            return Ok(Self::Large(LargeFile { header, file, opened, left: opened.size, shrank: false }));
        }
        let mut content = Vec::with_capacity(usize::try_from(opened.size).unwrap_or_default() + 1);
        // One byte more than announced, to see a file that grew.
        (&mut file).take(opened.size + 1).read_to_end(&mut content)?;
        let altered = content.len() as u64 != opened.size;
        content.truncate(usize::try_from(opened.size).unwrap_or(usize::MAX));
        header.size = content.len() as u64;
        Ok(Self::Small(SmallFile { header, content, altered }))
    }
}

impl LargeFile {
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Appends the next piece; where the file has ended early, zeros.
    pub(super) fn read_piece(&mut self, piece: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let wanted = self.left.min(piece as u64);
        let read = if self.shrank { 0 } else { (&mut self.file).take(wanted).read_to_end(out)? as u64 };
        if read < wanted {
            self.shrank = true;
            let padding = usize::try_from(wanted - read).unwrap_or_default();
            out.resize(out.len() + padding, 0);
        }
        self.left -= wanted;
        Ok(())
    }

    /// Whether the file changed since it was opened.
    pub(super) fn is_altered(&self) -> bool {
        let now = crate::confined::file_metadata(&self.file);
        self.shrank
            || !now.is_ok_and(|now| now.size == self.opened.size && now.modified == self.opened.modified)
    }
}
