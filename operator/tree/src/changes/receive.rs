//! Changes off a stream, into memory and one file without a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use super::{Change, Unsupported};
use crate::digest::{Digest, Hasher};
use crate::entry::{Entry, FileEntry, SpecialKind, Target};
use crate::limits::{Exceeded, Limits, Meter, target_bytes};
use crate::manifest::Manifest;
use crate::path::TreePath;
use crate::wire::{Body, End, FileHeader, Located, Record, RecordReader, StreamKind, WireError};

/// Changes as the pod reports them: every path, kind, size and digest is checked, and none is applied.
#[derive(Debug)]
pub struct ChangeSet {
    /// Digest of the manifest that these are changes of.
    pub base: Digest,
    /// By path, each path once.
    pub changes: Vec<Change>,
    /// What cannot be brought back.
    pub unsupported: Vec<Unsupported>,
    /// Files that changed while the pod read them.
    pub altered: BTreeSet<TreePath>,
    /// Paths of which the pod reports no change any more, while the project has what was taken from them in between.
    /// The stream says nothing about them and has no content for them: who remembers what was taken adds them.
    pub reverted: Vec<TreePath>,
    spool: File,
    contents: BTreeMap<TreePath, u64>,
}

/// Why changes were not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveChangesError {
    #[error(transparent)]
    Stream(#[from] WireError),
    #[error("{0}: reported twice")]
    Duplicate(TreePath),
    #[error("{0}: the workspace misreports what was uploaded")]
    OtherBase(TreePath),
    #[error("these are changes of another project")]
    OtherProject,
    #[error("the changes are too large: {0}")]
    TooLarge(Exceeded),
    #[error("the changes could not be kept in a temporary file")]
    Spool(#[source] io::Error),
    #[error("the list of changes is not complete")]
    Incomplete,
}

/// Receives changes.
///
/// `base` is what was uploaded, where the caller still knows it; the pod's word about it is then checked. `spool` is an
/// empty file, best one without a name; contents go there one after the other.
pub fn receive_changes(
    input: impl Read,
    base: Option<&Manifest>,
    spool: File,
    limits: &Limits,
) -> Result<ChangeSet, ReceiveChangesError> {
    let mut receiver = Receiver {
        records: RecordReader::new(input, StreamKind::Changes)?,
        base,
        meter: Meter::new(*limits),
        changes: BTreeMap::new(),
        unsupported: Vec::new(),
        altered: BTreeSet::new(),
        contents: BTreeMap::new(),
        spool,
        spooled: 0,
    };
    receiver.spool.seek(SeekFrom::Start(0)).map_err(ReceiveChangesError::Spool)?;
    let end = receiver.receive_all()?;
    receiver.finish(end)
}

impl ChangeSet {
    /// The content of a file that [`ChangeSet::changes`] has; `None` for anything else.
    pub fn content(&self, change: &Change) -> Option<Content<'_>> {
        let Some(Entry::File(file)) = &change.now else { return None };
        let start = *self.contents.get(&change.path)?;
        Some(Content { spool: &self.spool, at: start, left: file.size })
    }
}

/// Reads one file's content.
#[derive(Debug)]
pub struct Content<'a> {
    spool: &'a File,
    at: u64,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.spool.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

struct Receiver<'a, R: Read> {
    records: RecordReader<R>,
    base: Option<&'a Manifest>,
    meter: Meter,
    changes: BTreeMap<TreePath, Change>,
    unsupported: Vec<Unsupported>,
    altered: BTreeSet<TreePath>,
    contents: BTreeMap<TreePath, u64>,
    spool: File,
    spooled: u64,
}

impl<R: Read> Receiver<'_, R> {
    fn receive_all(&mut self) -> Result<End, ReceiveChangesError> {
        loop {
            match self.records.next()? {
                Record::End(end) => return Ok(end),
                Record::Located(located) => self.receive_one(located)?,
            }
        }
    }

    fn receive_one(&mut self, located: Located) -> Result<(), ReceiveChangesError> {
        let Located { path, base, body } = located;
        let content = if let Body::File(header) = &body { header.size } else { 0 };
        let targets = body.target_bytes() + target_bytes(base.as_ref());
        self.meter.admit(&path, targets, content).map_err(ReceiveChangesError::TooLarge)?;
        let now = match body {
            Body::Removed => None,
            Body::Directory => Some(Entry::Directory),
            Body::Symlink(target) => match self.link(&path, target) {
                Some(link) => Some(link),
                None => return Ok(()),
            },
            Body::File(header) => Some(Entry::File(self.receive_content(&path, header)?)),
            Body::Special(kind) => {
                self.unsupported.push(Unsupported { path, kind });
                return Ok(());
            }
        };
        if self.base.is_some_and(|manifest| manifest.get(&path) != base.as_ref()) {
            return Err(ReceiveChangesError::OtherBase(path));
        }
        if base == now {
            return Ok(());
        }
        let change = Change { path: path.clone(), base, now };
        match self.changes.insert(path, change) {
            None => Ok(()),
            Some(earlier) => Err(ReceiveChangesError::Duplicate(earlier.path)),
        }
    }

    /// A link that leads out of the project is reported and goes no further.
    fn link(&mut self, path: &TreePath, target: Target) -> Option<Entry> {
        if target.stays_inside(path) {
            return Some(Entry::Symlink(target));
        }
        self.unsupported.push(Unsupported { path: path.clone(), kind: SpecialKind::OutsideLink });
        None
    }

    fn receive_content(
        &mut self,
        path: &TreePath,
        header: FileHeader,
    ) -> Result<FileEntry, ReceiveChangesError> {
        let mut hasher = Hasher::default();
        let spool = &mut self.spool;
        self.records.stream(header.size, |piece| {
            hasher.update(piece);
            spool.write_all(piece).map_err(ReceiveChangesError::Spool)
        })?;
        let trailer = self.records.trailer()?;
        let found = hasher.finish();
        if trailer.digest != found {
            return Err(WireError::Digest { expected: trailer.digest, found }.into());
        }
        if trailer.altered {
            self.altered.insert(path.clone());
        }
        self.contents.insert(path.clone(), self.spooled);
        self.spooled = self.spooled.saturating_add(header.size);
        Ok(FileEntry { executable: header.executable, size: header.size, digest: found })
    }

    fn finish(self, end: End) -> Result<ChangeSet, ReceiveChangesError> {
        if end.records != self.meter.entries() {
            return Err(ReceiveChangesError::Incomplete);
        }
        if self.base.is_some_and(|base| base.digest() != end.manifest) {
            return Err(ReceiveChangesError::OtherProject);
        }
        Ok(ChangeSet {
            base: end.manifest,
            changes: self.changes.into_values().collect(),
            unsupported: self.unsupported,
            altered: self.altered,
            reverted: Vec::new(),
            spool: self.spool,
            contents: self.contents,
        })
    }
}
