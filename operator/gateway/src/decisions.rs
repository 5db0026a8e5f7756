//! The last decisions on a workspace, for whoever asks from there: `ws egress`. The audit log is what lasts.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::session::Session;

/// Decisions that are kept of one workspace.
const KEPT: usize = 256;
/// Decisions that are kept of one workspace when all together have [`ROOM`] bytes.
const KEPT_AT_LEAST: usize = 8;
/// Bytes of all workspaces' decisions.
const ROOM: usize = 16 << 20;

/// Bytes that the decisions of all workspaces have now.
static USED: AtomicUsize = AtomicUsize::new(0);

/// The last decisions on one workspace, in their order.
#[derive(Debug)]
pub struct Decisions {
    lines: VecDeque<(u64, Bytes)>,
    latest: watch::Sender<u64>,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { lines: VecDeque::new(), latest: watch::channel(0).0 }
    }
}

impl Decisions {
    /// Keeps a line, and tells who follows.
    pub fn push(&mut self, seq: u64, line: &[u8]) {
        let line: Bytes = [line, b"\n"].concat().into();
        USED.fetch_add(line.len(), Ordering::Relaxed);
        self.lines.push_back((seq, line));
        let kept = if USED.load(Ordering::Relaxed) > ROOM { KEPT_AT_LEAST } else { KEPT };
        while self.lines.len() > kept {
            self.forget_first();
        }
        self.latest.send_replace(seq);
    }

    /// The first line after a number. All who read it share its bytes.
    fn after(&self, seq: u64) -> Option<(u64, Bytes)> {
        let next = self.lines.partition_point(|(number, _)| *number <= seq);
        self.lines.get(next).cloned()
    }

    fn forget_first(&mut self) {
        if let Some((_, line)) = self.lines.pop_front() {
            USED.fetch_sub(line.len(), Ordering::Relaxed);
        }
    }
}

impl Drop for Decisions {
    fn drop(&mut self) {
        while !self.lines.is_empty() {
            self.forget_first();
        }
    }
}

/// Who reads the decisions on a workspace, from the first that is kept.
#[derive(Debug)]
pub struct Reader {
    session: Arc<Session>,
    seen: u64,
    latest: watch::Receiver<u64>,
    /// Whether it waits for more at the end.
    follows: bool,
}

impl Reader {
    pub fn new(session: Arc<Session>, follows: bool) -> Self {
        let latest = session.decisions().latest.subscribe();
        Self { session, seen: 0, latest, follows }
    }

    /// The next line; none: there is no more, or the workspace is gone.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.latest.borrow_and_update();
            if let Some((seq, line)) = self.session.decisions().after(self.seen) {
                self.seen = seq;
                return Some(line);
            }
            if !self.follows || self.latest.changed().await.is_err() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::testing::identity;

    #[tokio::test]
    async fn the_last_decisions_are_kept_and_followed_in_their_order() {
        let session = Arc::new(Session::new(identity()));
        for seq in 1..=KEPT as u64 + 2 {
            session.decisions().push(seq, seq.to_string().as_bytes());
        }
        let mut reader = Reader::new(session.clone(), true);
        for seq in 3..=258 {
            assert_eq!(reader.next().await.unwrap(), format!("{seq}\n"));
        }
        assert!(reader.next().now_or_never().is_none());
        session.decisions().push(300, b"new");
        assert_eq!(reader.next().await.unwrap(), "new\n");
        let mut once = Reader::new(session, false);
        for _ in 0..KEPT {
            assert!(once.next().await.is_some());
        }
        assert!(once.next().await.is_none());
    }
}
