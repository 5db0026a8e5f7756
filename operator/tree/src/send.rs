//! A tree onto a stream.
//!
//! Files are handed out to a few threads. Each packs small files into a batch, hashes and compresses it to a frame of
//! its own, and only then takes the stream's lock to write it; a large file takes the lock and is streamed, so it is
//! never in memory. Folders go first and links last, the rest in whatever order it is ready.

mod reader;
mod worker;

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use crate::confined::Confined;
use crate::digest::Digest;
use crate::entry::{Entry, Target};
use crate::manifest::Manifest;
use crate::path::TreePath;
use crate::receipt::Receipt;
use crate::wire::{Body, End, FrameEncoder, Located, StreamKind};

use worker::{Output, Shared, Worker};

/// How to send.
#[derive(Clone, Copy, Debug)]
pub struct SendOptions {
    /// zstd level. On a fast link 1 is the fastest overall, on a slow one 3 to 6.
    pub level: i32,
    /// Threads that read and compress; at least one is used.
    pub threads: usize,
}

impl Default for SendOptions {
    fn default() -> Self {
        let available = std::thread::available_parallelism().map_or(2, usize::from);
        Self { level: 1, threads: available.clamp(2, 4) }
    }
}

/// One path to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub path: TreePath,
    pub kind: SourceKind,
}

/// What to send for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    Directory,
    /// A file; the size is a hint for planning, the file itself decides.
    File {
        size: u64,
    },
    Symlink(Target),
}

/// What was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub manifest: Manifest,
    /// Files that are not, or not quite, what was asked for.
    pub warnings: Vec<Warning>,
}

impl Sent {
    /// Whether the receiver has exactly what was sent.
    pub fn matches(&self, receipt: &Receipt) -> bool {
        receipt.entries == self.manifest.len() as u64
            && receipt.bytes == self.manifest.content_bytes()
            && receipt.manifest == self.manifest.digest()
    }
}

/// Something a person should know about a transfer that went on regardless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("{0}: changed while it was read; a mix of old and new was sent")]
    Changed(TreePath),
    #[error("{0}: gone before it was read")]
    Gone(TreePath),
    #[error("{path}: not sent: {reason}")]
    Unreadable { path: TreePath, reason: String },
}

/// Why a tree was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("{path} could not be read to its end")]
    Read { path: TreePath, source: io::Error },
    #[error("the stream could not be written")]
    Write(#[source] io::Error),
    #[error("{0} was given twice")]
    Duplicate(TreePath),
    #[error("a sending thread ended unexpectedly")]
    Thread,
}

/// Sends the sources as a project.
///
/// A file that cannot be opened is left out and warned about; one that shrinks or grows meanwhile is padded or cut to
/// the size it had and warned about. Folders must be named before what is in them, or not at all if they are sources
/// of none.
pub fn send(
    root: &Confined,
    sources: &[Source],
    output: impl Write + Send,
    options: &SendOptions,
) -> Result<Sent, SendError> {
    let items = sources.iter().map(|source| Item { source, base: None }).collect::<Vec<_>>();
    let (manifest, warnings) = send_items(root, &items, output, options, &Closing::Project)?;
    Ok(Sent { manifest, warnings })
}

/// A source and, in a stream of changes, what stood there before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) source: &'a Source,
    pub(crate) base: Option<&'a Entry>,
}

/// What a stream is and how it ends.
pub(crate) enum Closing<'a> {
    Project,
    /// Changes of the tree with this manifest; the records without content are these.
    Changes {
        base: Digest,
        others: &'a [Located],
    },
}

pub(crate) fn send_items(
    root: &Confined,
    items: &[Item<'_>],
    mut output: impl Write + Send,
    options: &SendOptions,
    closing: &Closing<'_>,
) -> Result<(Manifest, Vec<Warning>), SendError> {
    let kind = match closing {
        Closing::Project => StreamKind::Project,
        Closing::Changes { .. } => StreamKind::Changes,
    };
    output.write_all(&kind.magic()).map_err(SendError::Write)?;
    let mut encoder = FrameEncoder::new(options.level).map_err(SendError::Write)?;
    let mut records = Vec::new();
    let mut sent = Vec::new();
    // Removals first: what replaces a folder needs its place.
    if let Closing::Changes { others, .. } = closing {
        others.iter().for_each(|located| located.encode(&mut records));
    }
    for item in items.iter().filter(|item| item.source.kind == SourceKind::Directory) {
        located(item, Body::Directory).encode(&mut records);
        sent.push((item.source.path.clone(), Entry::Directory));
    }
    write_frame(&mut encoder, &records, &mut output)?;

    let files: Vec<_> =
        items.iter().filter(|item| matches!(item.source.kind, SourceKind::File { .. })).collect();
    let output = Mutex::new(Output { stream: output, failed: false });
    let (file_entries, warnings) = send_files(root, &files, &output, options)?;
    sent.extend(file_entries);

    records.clear();
    for item in items {
        if let SourceKind::Symlink(target) = &item.source.kind {
            located(item, Body::Symlink(target.clone())).encode(&mut records);
            sent.push((item.source.path.clone(), Entry::Symlink(target.clone())));
        }
    }
    let others = if let Closing::Changes { others, .. } = closing { others.len() } else { 0 };
    let count = (sent.len() + others) as u64;
    let manifest = collect(sent)?;
    let digest = match closing {
        Closing::Project => manifest.digest(),
        Closing::Changes { base, .. } => *base,
    };
    End { records: count, manifest: digest }.encode(&mut records);
    let mut output = output.into_inner().map_err(|_| SendError::Thread)?.stream;
    write_frame(&mut encoder, &records, &mut output)?;
    output.flush().map_err(SendError::Write)?;
    Ok((manifest, warnings))
}

pub(crate) fn located(item: &Item<'_>, body: Body) -> Located {
    Located { path: item.source.path.clone(), base: item.base.cloned(), body }
}

fn collect(sent: Vec<(TreePath, Entry)>) -> Result<Manifest, SendError> {
    let mut manifest = Manifest::default();
    for (path, entry) in sent {
        manifest.insert(path.clone(), entry).map_err(|_| SendError::Duplicate(path))?;
    }
    Ok(manifest)
}

fn write_frame(encoder: &mut FrameEncoder, records: &[u8], output: &mut impl Write) -> Result<(), SendError> {
    encoder.frame(records).and_then(|frame| output.write_all(frame)).map_err(SendError::Write)
}

type FilesSent = (Vec<(TreePath, Entry)>, Vec<Warning>);

fn send_files<W: Write + Send>(
    root: &Confined,
    files: &[&Item<'_>],
    output: &Mutex<Output<W>>,
    options: &SendOptions,
) -> Result<FilesSent, SendError> {
    let shared = Shared { root, jobs: worker::plan(files), next: AtomicUsize::new(0), output };
    let threads = options.threads.clamp(1, shared.jobs.len().max(1));
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| Worker::new(&shared, options.level)?.run())).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(Err(SendError::Thread))).collect::<Vec<_>>()
    });
    let (mut entries, mut warnings) = (Vec::with_capacity(files.len()), Vec::new());
    let mut stopped = false;
    for result in results {
        match result {
            Ok((sent, warned)) => {
                entries.extend(sent);
                warnings.extend(warned);
            }
            // Threads that stop because of another one are not the cause.
            Err(SendError::Thread) => stopped = true,
            Err(cause) => return Err(cause),
        }
    }
    if stopped { Err(SendError::Thread) } else { Ok((entries, warnings)) }
}
