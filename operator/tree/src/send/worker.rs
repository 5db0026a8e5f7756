//! A thread that turns files into frames.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::reader::{LargeFile, Opened, SmallFile};
use super::{Item, SendError, SourceKind, Warning, located};
use crate::confined::{Confined, Dir};
use crate::digest::Hasher;
use crate::entry::{Entry, FileEntry};
use crate::path::TreePath;
use crate::wire::{Body, FileHeader, FileTrailer, FrameEncoder};

/// Files up to this size are read whole.
pub(super) const SMALL: u64 = 512 << 10;
/// Content in one batch; with as many threads as options allow this bounds the memory of a transfer.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_FILES: usize = 512;
/// Bytes of a large file in one frame.
const PIECE: usize = 1 << 20;

/// What a thread takes at a time.
pub(super) struct Job<'a>(&'a [&'a Item<'a>]);

/// Divides files into jobs of about one frame each.
pub(super) fn plan<'a>(files: &'a [&'a Item<'a>]) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    let mut rest = files;
    while !rest.is_empty() {
        let mut bytes = 0_u64;
        let fitting = rest.iter().take(BATCH_FILES).take_while(|item| {
            let fits = bytes < BATCH_BYTES;
            bytes = bytes.saturating_add(size_hint(item));
            fits
        });
        let (job, others) = rest.split_at(fitting.count().max(1));
        jobs.push(Job(job));
        rest = others;
    }
    jobs
}

fn size_hint(item: &Item<'_>) -> u64 {
    match item.source.kind {
        SourceKind::File { size } => size,
        SourceKind::Directory | SourceKind::Symlink(_) => 0,
    }
}

/// The stream, and whether a thread gave up on it.
pub(super) struct Output<W> {
    pub(super) stream: W,
    pub(super) failed: bool,
}

/// What the threads have in common.
pub(super) struct Shared<'a, W> {
    pub(super) root: &'a Confined,
    pub(super) jobs: Vec<Job<'a>>,
    pub(super) next: AtomicUsize,
    pub(super) output: &'a Mutex<Output<W>>,
}

pub(super) struct Worker<'a, W> {
    shared: &'a Shared<'a, W>,
    encoder: FrameEncoder,
    /// Records of the batch at hand.
    records: Vec<u8>,
    folder: Option<(Vec<u8>, Dir)>,
    sent: Vec<(TreePath, Entry)>,
    warnings: Vec<Warning>,
}

impl<'a, W: Write> Worker<'a, W> {
    pub(super) fn new(shared: &'a Shared<'a, W>, level: i32) -> Result<Self, SendError> {
        let encoder = FrameEncoder::new(level).map_err(SendError::Write)?;
        Ok(Self {
            shared,
            encoder,
            records: Vec::new(),
            folder: None,
            sent: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Takes jobs until there are none.
    pub(super) fn run(mut self) -> Result<super::FilesSent, SendError> {
        while let Some(job) = self.shared.jobs.get(self.shared.next.fetch_add(1, Ordering::Relaxed)) {
            for item in job.0 {
                self.send(item)?;
            }
            self.finish_batch()?;
        }
        Ok((self.sent, self.warnings))
    }

    fn send(&mut self, item: &Item<'_>) -> Result<(), SendError> {
        let path = &item.source.path;
        let opened = self.folder_of(path).and_then(|folder| Opened::open(&folder, path.name(), SMALL));
        match opened {
            Ok(Opened::Small(file)) => {
                self.add_small(item, &file);
                Ok(())
            }
            Ok(Opened::Large(file)) => {
                self.finish_batch()?;
                self.stream_large(item, file)
            }
            Err(error) => {
                self.warnings.push(match error.kind() {
                    io::ErrorKind::NotFound => Warning::Gone(path.clone()),
                    _ => Warning::Unreadable { path: path.clone(), reason: error.to_string() },
                });
                Ok(())
            }
        }
    }

    fn folder_of(&mut self, path: &TreePath) -> io::Result<Dir> {
        let wanted = path.split().0;
        match &self.folder {
            Some((bytes, folder)) if bytes == wanted => Ok(folder.clone()),
            _ => {
                let folder = self.shared.root.dir(wanted)?;
                self.folder = Some((wanted.to_vec(), folder.clone()));
                Ok(folder)
            }
        }
    }

    fn add_small(&mut self, item: &Item<'_>, file: &SmallFile) {
        let mut hasher = Hasher::default();
        hasher.update(&file.content);
        let trailer = FileTrailer { digest: hasher.finish(), altered: file.altered };
        located(item, Body::File(file.header)).encode(&mut self.records);
        self.records.extend_from_slice(&file.content);
        trailer.encode(&mut self.records);
        self.note(item, file.header, trailer);
    }

    fn finish_batch(&mut self) -> Result<(), SendError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let frame = self.encoder.frame(&self.records).map_err(SendError::Write)?;
        let mut output = lock(self.shared.output)?;
        let result = output.stream.write_all(frame);
        output.failed |= result.is_err();
        self.records.clear();
        result.map_err(SendError::Write)
    }

    /// Holds the stream while the file goes by, because a file's content is one run of bytes.
    fn stream_large(&mut self, item: &Item<'_>, mut file: LargeFile) -> Result<(), SendError> {
        let mut output = lock(self.shared.output)?;
        let result = stream_file(&mut self.encoder, item, &mut file, &mut output.stream);
        output.failed |= result.is_err();
        drop(output);
        let trailer = result?;
        self.note(item, file.header, trailer);
        Ok(())
    }

    fn note(&mut self, item: &Item<'_>, header: FileHeader, trailer: FileTrailer) {
        let path = &item.source.path;
        if trailer.altered {
            self.warnings.push(Warning::Changed(path.clone()));
        }
        let entry = FileEntry { executable: header.executable, size: header.size, digest: trailer.digest };
        self.sent.push((path.clone(), Entry::File(entry)));
    }
}

/// Waits for the stream; a stream that another thread left in the middle of a record is of no use.
fn lock<W>(output: &Mutex<Output<W>>) -> Result<MutexGuard<'_, Output<W>>, SendError> {
    let output = output.lock().map_err(|_| SendError::Thread)?;
    if output.failed { Err(SendError::Thread) } else { Ok(output) }
}

fn stream_file(
    encoder: &mut FrameEncoder,
    item: &Item<'_>,
    file: &mut LargeFile,
    output: &mut impl Write,
) -> Result<FileTrailer, SendError> {
    let mut records = Vec::with_capacity(PIECE + TreePath::MAX_BYTES);
    located(item, Body::File(file.header)).encode(&mut records);
    let mut hasher = Hasher::default();
    while file.left() > 0 {
        let read = |source| SendError::Read { path: item.source.path.clone(), source };
        let start = records.len();
        file.read_piece(PIECE, &mut records).map_err(read)?;
        hasher.update(records.get(start..).unwrap_or_default());
        encoder.frame(&records).and_then(|frame| output.write_all(frame)).map_err(SendError::Write)?;
        records.clear();
    }
    let trailer = FileTrailer { digest: hasher.finish(), altered: file.is_altered() };
    trailer.encode(&mut records);
    encoder.frame(&records).and_then(|frame| output.write_all(frame)).map_err(SendError::Write)?;
    Ok(trailer)
}
