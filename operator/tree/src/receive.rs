//! A project off a stream, onto a disk.
//!
//! One thread decodes and checks; small files go to writer threads in batches, large ones straight to disk. Every file
//! is new (`O_EXCL`), lies in a folder that the stream announced, and must have the digest the stream states. Links are
//! made last, so nothing is ever written through one.

mod folders;
mod writer;

use std::io::{self, Read, Write as _};

use crate::confined::{Confined, file_metadata, normalise_mode, set_modified};
use crate::digest::Hasher;
use crate::entry::{Entry, FileEntry, Target, Timestamp};
use crate::limits::{Exceeded, Limits, Meter};
use crate::manifest::Manifest;
use crate::path::TreePath;
use crate::receipt::Receipt;
use crate::wire::{Body, End, FileHeader, Located, Record, RecordReader, StreamKind, WireError};

use folders::Folders;
use writer::{NewFile, Writers};

pub(crate) use writer::Stamp;

/// Files up to this size are read whole and written by the writer threads.
const SMALL: u64 = 1 << 20;

/// A project as it was received: what changes are computed against.
#[derive(Debug)]
pub struct Received {
    pub manifest: Manifest,
    stamps: std::collections::HashMap<TreePath, Stamp>,
    finished: Timestamp,
}

impl Received {
    /// A baseline without stamps: every file will be hashed when changes are computed.
    pub fn from_manifest(manifest: Manifest) -> Self {
        Self { manifest, stamps: std::collections::HashMap::new(), finished: Timestamp::default() }
    }

    /// The answer to the sender.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            entries: self.manifest.len() as u64,
            bytes: self.manifest.content_bytes(),
            manifest: self.manifest.digest(),
        }
    }

    /// What the file at a path looked like when it was written, and when writing ended.
    pub(crate) fn stamp(&self, path: &TreePath) -> Option<(&Stamp, Timestamp)> {
        self.stamps.get(path).map(|stamp| (stamp, self.finished))
    }
}

/// Why a project was not received. What was written until then stays; the caller discards the folder.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error(transparent)]
    Stream(#[from] WireError),
    #[error("{path}: {fault}")]
    Refused { path: TreePath, fault: Fault },
    #[error("the project is too large: {0}")]
    TooLarge(Exceeded),
    #[error("{path} could not be written")]
    Write { path: TreePath, source: io::Error },
    #[error("the project that arrived is not the one that was sent")]
    Incomplete,
    #[error("a writing thread ended unexpectedly")]
    Thread,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("sent twice")]
    Duplicate,
    #[error("its folder was not sent before it")]
    NoFolder,
    #[error("a link that leads out of the project")]
    OutsideLink,
    #[error("a record that has no place in this stream")]
    Misplaced,
}

/// Receives a project into an empty folder.
///
/// Reads exactly to the end of the stream's last frame, as far as it was buffered; the sender then waits for
/// [`Received::receipt`].
pub fn receive(input: impl Read, root: &Confined, limits: &Limits) -> Result<Received, ReceiveError> {
    let records = RecordReader::new(input, StreamKind::Project)?;
    std::thread::scope(|scope| {
        let mut receiver = Receiver {
            records,
            meter: Meter::new(*limits),
            manifest: Manifest::default(),
            folders: Folders::new(root.clone()),
            writers: Writers::start(scope),
            links: Vec::new(),
            large: Vec::new(),
        };
        let end = receiver.receive_all();
        // A writer's own error explains more than the queue it left behind.
        let mut stamps = receiver.writers.finish()?;
        let end = end?;
        stamps.append(&mut receiver.large);
        receiver.make_links()?;
        receiver.finish(end, stamps)
    })
}

struct Receiver<'scope, R: Read> {
    records: RecordReader<R>,
    meter: Meter,
    manifest: Manifest,
    folders: Folders,
    writers: Writers<'scope>,
    links: Vec<(TreePath, Target)>,
    large: Vec<(TreePath, Stamp)>,
}

impl<R: Read> Receiver<'_, R> {
    fn receive_all(&mut self) -> Result<End, ReceiveError> {
        loop {
            match self.records.next()? {
                Record::End(end) => return Ok(end),
                Record::Located(located) => self.receive_one(located)?,
            }
        }
    }

    fn receive_one(&mut self, located: Located) -> Result<(), ReceiveError> {
        let Located { path, base, body } = located;
        let content = if let Body::File(header) = &body { header.size } else { 0 };
        self.meter.admit(&path, body.target_bytes(), content).map_err(ReceiveError::TooLarge)?;
        if base.is_some() {
            return Err(refused(path, Fault::Misplaced));
        }
        let folder = path.parent();
        if folder.is_some_and(|folder| self.manifest.get(&folder) != Some(&Entry::Directory)) {
            return Err(refused(path, Fault::NoFolder));
        }
        // Looked at before anything is written; the entry itself follows when the content is known.
        if self.manifest.contains(&path) {
            return Err(refused(path, Fault::Duplicate));
        }
        let entry = match body {
            Body::Directory => self.folders.make(&path).map(|()| Entry::Directory)?,
            Body::Symlink(target) => self.keep_link(&path, target)?,
            Body::File(header) if header.size <= SMALL => self.receive_small(&path, header)?,
            Body::File(header) => self.receive_large(&path, header)?,
            Body::Removed | Body::Special(_) => return Err(refused(path, Fault::Misplaced)),
        };
        self.manifest.insert(path.clone(), entry).map_err(|_| refused(path, Fault::Duplicate))
    }

    fn keep_link(&mut self, path: &TreePath, target: Target) -> Result<Entry, ReceiveError> {
        if !target.stays_inside(path) {
            return Err(refused(path.clone(), Fault::OutsideLink));
        }
        self.links.push((path.clone(), target.clone()));
        Ok(Entry::Symlink(target))
    }

    fn receive_small(&mut self, path: &TreePath, header: FileHeader) -> Result<Entry, ReceiveError> {
        let content = self.records.content(usize::try_from(header.size).unwrap_or(usize::MAX))?;
        let digest = self.records.trailer()?.digest;
        let folder = self.folders.of(path)?;
        self.writers.write(NewFile { path: path.clone(), folder, header, content, digest })?;
        Ok(Entry::File(FileEntry { executable: header.executable, size: header.size, digest }))
    }

    fn receive_large(&mut self, path: &TreePath, header: FileHeader) -> Result<Entry, ReceiveError> {
        let failed = |source| ReceiveError::Write { path: path.clone(), source };
        let mut file = self.folders.of(path)?.create(path.name(), header.executable).map_err(failed)?;
        let mut hasher = Hasher::default();
        self.records.stream(header.size, |piece| {
            hasher.update(piece);
            file.write_all(piece).map_err(failed)
        })?;
        let digest = self.records.trailer()?.digest;
        let found = hasher.finish();
        if digest != found {
            return Err(WireError::Digest { expected: digest, found }.into());
        }
        normalise_mode(&file, header.executable)
            .and_then(|()| set_modified(&file, header.modified))
            .and_then(|()| file_metadata(&file))
            .map(|metadata| self.large.push((path.clone(), Stamp::of(&metadata))))
            .map_err(failed)?;
        Ok(Entry::File(FileEntry { executable: header.executable, size: header.size, digest }))
    }

    fn make_links(&mut self) -> Result<(), ReceiveError> {
        for (path, target) in std::mem::take(&mut self.links) {
            let made = self.folders.of(&path)?.create_symlink(path.name(), &target);
            made.map_err(|source| ReceiveError::Write { path, source })?;
        }
        Ok(())
    }

    fn finish(self, end: End, stamps: Vec<(TreePath, Stamp)>) -> Result<Received, ReceiveError> {
        if end.records != self.meter.entries() || end.manifest != self.manifest.digest() {
            return Err(ReceiveError::Incomplete);
        }
        Ok(Received {
            manifest: self.manifest,
            stamps: stamps.into_iter().collect(),
            finished: Timestamp::now(),
        })
    }
}

fn refused(path: TreePath, fault: Fault) -> ReceiveError {
    ReceiveError::Refused { path, fault }
}

#[cfg(test)]
mod tests;
