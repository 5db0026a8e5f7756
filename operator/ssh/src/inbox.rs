//! What a channel received and nobody has read yet: a little in memory, the rest in an unlinked file.
//!
//! russh grants a peer a new window when bytes arrive, not when they are read, so a peer can send without end to a program
//! that does not read. Refusing would stop every channel of the connection; keeping it in memory would end the pod.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use rustix::fs::FallocateFlags;
use tokio::sync::Notify;

/// Bytes that the reader is given at once.
const CHUNK: usize = 256 << 10;
/// Bytes kept in memory.
const MEMORY: usize = 8 << 20;
/// Bytes that were read from the file before their blocks are given back.
const PUNCH: u64 = 64 << 20;

/// Where an inbox keeps what it holds.
#[derive(Clone, Debug)]
pub struct Store {
    /// Bytes kept in memory.
    pub memory: usize,
    /// Folder of the unlinked file with what exceeds them.
    pub directory: PathBuf,
    /// Bytes that the file may hold.
    pub cap: u64,
}

impl Store {
    /// 8 MiB in memory and 4 GiB in `directory`.
    pub fn in_directory(directory: &Path) -> Self {
        Self { memory: MEMORY, directory: directory.to_owned(), cap: 4 << 30 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("the program left {0} bytes of its input unread")]
    Full(u64),
    #[error("keeping input that the program does not read")]
    Spill(#[source] io::Error),
}

/// Makes an empty inbox: what is pushed into the [`Feed`] comes out of the [`Inbox`], in order.
pub fn inbox(store: Store) -> (Feed, Inbox) {
    let state = State { memory: BytesMut::new(), spill: None, ended: false, abandoned: false, store };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
    (Feed(Arc::clone(&shared)), Inbox(shared))
}

/// The end that bytes are pushed into. Dropping it ends the inbox, after what was pushed.
#[derive(Debug)]
pub struct Feed(Arc<Shared>);

/// The end that is read. Dropping it makes the [`Feed`] discard what comes.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// Older than anything in `spill`.
    memory: BytesMut,
    spill: Option<Spill>,
    ended: bool,
    abandoned: bool,
    store: Store,
}

enum Taken {
    Bytes(Bytes),
    /// Not yet.
    Nothing,
    End,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// Takes `data` without waiting for the reader.
    pub fn push(&self, data: &[u8]) -> Result<(), FeedError> {
        let mut state = self.0.lock();
        if state.abandoned {
            return Ok(());
        }
        state.keep(data)?;
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}

impl Inbox {
    /// The next bytes, at most 256 KiB; `None` at the end. May be cancelled without losing any.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.0.lock().take()? {
                Taken::Bytes(bytes) => return Ok(Some(bytes)),
                Taken::End => return Ok(None),
                Taken::Nothing => (),
            }
            self.0.changed.notified().await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        state.memory = BytesMut::new();
        state.spill = None;
    }
}

impl State {
    fn keep(&mut self, data: &[u8]) -> Result<(), FeedError> {
        let spilled = self.spill.as_ref().is_some_and(|spill| !spill.is_empty());
        if !spilled && self.memory.len() + data.len() <= self.store.memory {
            self.memory.extend_from_slice(data);
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::new(&self.store.directory).map_err(FeedError::Spill)?),
        };
        if spill.unread() + data.len() as u64 > self.store.cap {
            return Err(FeedError::Full(self.store.cap));
        }
        spill.append(data).map_err(FeedError::Spill)
    }

    fn take(&mut self) -> io::Result<Taken> {
        if !self.memory.is_empty() {
            let length = self.memory.len().min(CHUNK);
            return Ok(Taken::Bytes(self.memory.split_to(length).freeze()));
        }
        if let Some(spill) = self.spill.as_mut().filter(|spill| !spill.is_empty()) {
            return spill.take().map(Taken::Bytes);
        }
        Ok(if self.ended { Taken::End } else { Taken::Nothing })
    }
}

/// A queue in a file without a name.
#[derive(Debug)]
struct Spill {
    file: File,
    /// Before it, blocks were given back.
    punched: u64,
    read: u64,
    written: u64,
}

impl Spill {
    fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(directory)?, punched: 0, read: 0, written: 0 })
    }

    fn unread(&self) -> u64 {
        self.written - self.read
    }

    fn is_empty(&self) -> bool {
        self.unread() == 0
    }

    fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, self.written)?;
        self.written += data.len() as u64;
        Ok(())
    }

    fn take(&mut self) -> io::Result<Bytes> {
        let length = usize::try_from(self.unread()).map_or(CHUNK, |unread| unread.min(CHUNK));
        let mut chunk = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut chunk, self.read)?;
        self.read += length as u64;
        self.give_back()?;
        Ok(chunk.freeze())
    }

    fn give_back(&mut self) -> io::Result<()> {
        if self.is_empty() {
            self.file.set_len(0)?;
            (self.punched, self.read, self.written) = (0, 0, 0);
        } else if self.read - self.punched >= PUNCH {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Not every file system can; then the blocks are given back when the file is empty.
            if rustix::fs::fallocate(&self.file, flags, self.punched, self.read - self.punched).is_ok() {
                self.punched = self.read;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(memory: usize, cap: u64) -> Store {
        Store { memory, cap, directory: std::env::temp_dir() }
    }

    async fn rest(inbox: &mut Inbox) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = inbox.next().await.unwrap() {
            all.extend_from_slice(&chunk);
        }
        all
    }

    fn numbers(range: std::ops::Range<u32>) -> Vec<u8> {
        range.flat_map(u32::to_be_bytes).collect()
    }

    #[tokio::test]
    async fn bytes_come_out_in_order_whether_or_not_they_fit_in_memory() {
        for memory in [0, 1, 1000, 1 << 20] {
            let (feed, mut inbox) = inbox(store(memory, 1 << 30));
            let mut received = Vec::new();
            for step in 0..100 {
                feed.push(&numbers(step * 1000..(step + 1) * 1000)).unwrap();
                if step % 3 == 0 {
                    received.extend_from_slice(&inbox.next().await.unwrap().unwrap());
                }
            }
            drop(feed);
            received.extend(rest(&mut inbox).await);
            assert!(received == numbers(0..100_000), "{memory}");
        }
    }

    #[tokio::test]
    async fn a_reader_waits_for_bytes_and_for_the_end() {
        let (feed, mut inbox) = inbox(store(16, 16));
        let reader = tokio::spawn(async move { rest(&mut inbox).await });
        for piece in [b"one ".as_slice(), b"two ", b"three"] {
            tokio::task::yield_now().await;
            feed.push(piece).unwrap();
        }
        tokio::task::yield_now().await;
        drop(feed);
        assert_eq!(reader.await.unwrap(), b"one two three");
    }

    #[tokio::test]
    async fn the_file_is_empty_again_once_all_is_read() {
        let (feed, mut inbox) = inbox(store(0, 8));
        for _ in 0..10 {
            feed.push(b"12345678").unwrap();
            assert_eq!(inbox.next().await.unwrap().unwrap(), "12345678");
        }
        let state = feed.0.lock();
        assert_eq!(state.spill.as_ref().unwrap().file.metadata().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn more_than_the_cap_is_refused_and_what_came_before_is_kept() {
        let (feed, mut inbox) = inbox(store(4, 4));
        feed.push(b"memo").unwrap();
        feed.push(b"file").unwrap();
        assert!(matches!(feed.push(b"!"), Err(FeedError::Full(4))));
        drop(feed);
        assert_eq!(rest(&mut inbox).await, b"memofile");
    }

    #[test]
    fn nothing_is_kept_for_a_reader_that_is_gone() {
        let (feed, inbox) = inbox(store(4, 4));
        feed.push(b"memofile").unwrap_err();
        drop(inbox);
        for _ in 0..100 {
            feed.push(b"memofile").unwrap();
        }
        assert!(feed.0.lock().memory.is_empty());
    }
}
