//! A queue of bytes between the thread that packs the project and the task that sends it.
//!
//! Packing starts before there is a pod, and must not wait for it: what does not fit into memory goes to a temporary file
//! without a name, which is gone when the process is.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes kept in memory. Most projects fit, compressed.
const MEMORY: usize = 128 << 20;
/// Bytes read back from the file at a time.
const READ: usize = 256 << 10;

/// The end that is written. The queue is complete when it is dropped.
pub(super) struct Sink(Arc<Shared>);

/// The end that is read.
pub(super) struct Source(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
    memory: usize,
}

#[derive(Default)]
struct Queue {
    parts: VecDeque<Part>,
    in_memory: usize,
    file: Option<Arc<File>>,
    /// Where in the file the next part goes.
    end: u64,
    complete: bool,
}

/// Parts in the order in which they were written.
enum Part {
    Memory(Bytes),
    File { start: u64, length: usize },
}

/// A new queue.
pub(super) fn spool() -> (Sink, Source) {
    with_memory(MEMORY)
}

fn with_memory(memory: usize) -> (Sink, Source) {
    let shared = Arc::new(Shared { queue: Mutex::default(), changed: Notify::new(), memory });
    (Sink(Arc::clone(&shared)), Source(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.lock();
        if queue.in_memory + bytes.len() <= self.0.memory {
            queue.in_memory += bytes.len();
            queue.parts.push_back(Part::Memory(Bytes::copy_from_slice(bytes)));
        } else {
            queue.spill(bytes)?;
        }
        drop(queue);
        self.0.changed.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.0.lock().complete = true;
        self.0.changed.notify_one();
    }
}

impl Queue {
    fn spill(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(Arc::new(tempfile::tempfile()?))),
        };
        file.write_all_at(bytes, self.end)?;
        self.parts.push_back(Part::File { start: self.end, length: bytes.len() });
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Takes the next part, or as much of it as is read at a time.
    fn take(&mut self) -> Option<Part> {
        match self.parts.pop_front()? {
            Part::Memory(bytes) => {
                self.in_memory -= bytes.len();
                Some(Part::Memory(bytes))
            }
            Part::File { start, length } if length > READ => {
                self.parts.push_front(Part::File { start: start + READ as u64, length: length - READ });
                Some(Part::File { start, length: READ })
            }
            part @ Part::File { .. } => Some(part),
        }
    }
}

impl Source {
    /// The next bytes; none at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let changed = self.0.changed.notified();
            let (part, file, complete) = {
                let mut queue = self.0.lock();
                (queue.take(), queue.file.clone(), queue.complete)
            };
            match (part, file) {
                (Some(Part::Memory(bytes)), _) => return Ok(Some(bytes)),
                (Some(Part::File { start, length }), Some(file)) => {
                    return read(file, start, length).await.map(Some);
                }
                (Some(Part::File { .. }), None) => return Err(io::ErrorKind::NotFound.into()),
                (None, _) if complete => return Ok(None),
                (None, _) => changed.await,
            }
        }
    }
}

async fn read(file: Arc<File>, start: u64, length: usize) -> io::Result<Bytes> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, start)?;
        Ok(Bytes::from(bytes))
    });
    read.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_out_in_order_through_memory_and_file() {
        let (mut sink, mut source) = with_memory(1000);
        let written: Vec<u8> = (0..=250).cycle().take(3 * READ).collect();
        let expected = written.clone();
        let writer = std::thread::spawn(move || {
            for chunk in written.chunks(700) {
                sink.write_all(chunk).unwrap();
            }
        });
        let mut read = Vec::new();
        while let Some(bytes) = source.next().await.unwrap() {
            read.extend_from_slice(&bytes);
        }
        writer.join().unwrap();
        assert!(read == expected);
    }

    #[tokio::test]
    async fn a_large_part_is_read_back_in_pieces() {
        let (mut sink, mut source) = with_memory(0);
        sink.write_all(&vec![7; READ * 2 + 1]).unwrap();
        drop(sink);
        let mut lengths = Vec::new();
        while let Some(bytes) = source.next().await.unwrap() {
            lengths.push(bytes.len());
        }
        assert_eq!(lengths, [READ, READ, 1]);
    }
}
