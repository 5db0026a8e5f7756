//! Threads that write small files.

use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};

use super::ReceiveError;
use crate::confined::{Dir, Metadata, file_metadata, normalise_mode, set_modified};
use crate::digest::Digest;
use crate::entry::Timestamp;
use crate::path::TreePath;
use crate::wire::{FileHeader, WireError};

const THREADS: usize = 2;
/// Batches waiting; with `BATCH_BYTES` this bounds the memory of a transfer to about 10 MiB.
const QUEUE: usize = 8;
const BATCH_BYTES: usize = 512 << 10;
const BATCH_FILES: usize = 64;

/// A file to write.
pub(super) struct NewFile {
    pub(super) path: TreePath,
    pub(super) folder: Dir,
    pub(super) header: FileHeader,
    pub(super) content: Vec<u8>,
    /// What the sender says the content's digest is.
    pub(super) digest: Digest,
}

/// What a file looked like right after it was written. The time of change cannot be set by a program, so a file with
/// the same stamp later has not been written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) inode: u64,
    pub(crate) changed: Timestamp,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.size, inode: metadata.inode, changed: metadata.changed }
    }
}

type Stamps = Vec<(TreePath, Stamp)>;

/// The threads and their queue.
pub(super) struct Writers<'scope> {
    queue: Option<SyncSender<Vec<NewFile>>>,
    batch: Vec<NewFile>,
    batch_bytes: usize,
    threads: Vec<ScopedJoinHandle<'scope, Result<Stamps, ReceiveError>>>,
}

impl<'scope> Writers<'scope> {
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>) -> Self {
        let (queue, waiting) = sync_channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        let spawn = |_| {
            let waiting = Arc::clone(&waiting);
            scope.spawn(move || write_all(&waiting))
        };
        let threads = (0..THREADS).map(spawn).collect();
        Self { queue: Some(queue), batch: Vec::new(), batch_bytes: 0, threads }
    }

    /// Takes a file, and waits while the threads are behind.
    pub(super) fn write(&mut self, file: NewFile) -> Result<(), ReceiveError> {
        self.batch_bytes += file.content.len();
        self.batch.push(file);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FILES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ReceiveError> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        match &self.queue {
            // The queue closes when every thread has failed; `finish` tells why.
            Some(queue) => queue.send(batch).map_err(|_| ReceiveError::Thread),
            None => Err(ReceiveError::Thread),
        }
    }

    /// Writes what is left and returns every file's stamp.
    pub(super) fn finish(&mut self) -> Result<Stamps, ReceiveError> {
        let flushed = self.flush();
        self.queue = None;
        let mut stamps = Vec::new();
        for thread in self.threads.drain(..) {
            stamps.extend(thread.join().unwrap_or(Err(ReceiveError::Thread))?);
        }
        flushed.map(|()| stamps)
    }
}

fn write_all(waiting: &Mutex<Receiver<Vec<NewFile>>>) -> Result<Stamps, ReceiveError> {
    let mut stamps = Vec::new();
    loop {
        let batch = match waiting.lock() {
            Ok(waiting) => waiting.recv(),
            Err(_) => return Err(ReceiveError::Thread),
        };
        // The queue is closed when everything was handed out.
        let Ok(batch) = batch else { return Ok(stamps) };
        for file in batch {
            let found = Digest::of(&file.content);
            if found != file.digest {
                return Err(WireError::Digest { expected: file.digest, found }.into());
            }
            let stamp = write(&file);
            let stamp = stamp.map_err(|source| ReceiveError::Write { path: file.path.clone(), source })?;
            stamps.push((file.path, stamp));
        }
    }
}

fn write(new: &NewFile) -> io::Result<Stamp> {
    let mut file = new.folder.create(new.path.name(), new.header.executable)?;
    file.write_all(&new.content)?;
    set_modified(&file, new.header.modified)?;
    let metadata = file_metadata(&file)?;
    if metadata.is_executable() == new.header.executable && metadata.mode & 0o044 == 0o044 {
        return Ok(Stamp::of(&metadata));
    }
    normalise_mode(&file, new.header.executable)?;
    Ok(Stamp::of(&file_metadata(&file)?))
}
