//! What a workspace changed, fetched and checked against what it was given.

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::spawn_blocking};
use ws_api::ssh::CHANGES_SUBSYSTEM;
use ws_tree::{ChangeSet, Limits, Manifest, receive_changes};

use crate::{
    error::{Error, chain},
    pulled,
    ssh::Connection,
    state::Memory,
    subsystem,
};

/// Chunks between the connection and the thread that checks them.
const AHEAD: usize = 16;

/// What was uploaded to a workspace, as this machine remembers it; none if it never received a project.
pub fn baseline(memory: &Memory) -> Result<Option<Manifest>, Error> {
    let Some(bytes) = memory.baseline() else { return Ok(None) };
    let manifest = Manifest::decode(bytes.as_slice(), &Limits::PROJECT);
    manifest.map(Some).map_err(|error| {
        Error::user(format!(
            "what this machine remembers of workspace `{}` cannot be read: {error}",
            memory.record.name
        ))
    })
}

/// Fetches what changed since `base` was uploaded, and since what was pulled of it before.
pub async fn fetch(connection: &Connection, base: Manifest, memory: &Memory) -> Result<ChangeSet, Error> {
    let base = Arc::new(base);
    let mut changes = received(connection, Arc::clone(&base)).await?;
    pulled::rebase(&mut changes, &base, memory)?;
    Ok(changes)
}

async fn received(connection: &Connection, base: Arc<Manifest>) -> Result<ChangeSet, Error> {
    let channel = connection.subsystem(CHANGES_SUBSYSTEM).await?;
    let (mut reader, _writer) = channel.split();
    let (sender, receiver) = mpsc::channel(AHEAD);
    let check = spawn_blocking(move || -> Result<ChangeSet, Error> {
        let spool = tempfile::tempfile().map_err(|error| unreadable(&chain(&error)))?;
        let input = Chunks { receiver, current: Bytes::new() };
        receive_changes(input, Some(&base), spool, &Limits::CHANGES)
            .map_err(|error| unreadable(&chain(&error)))
    });
    let answer = subsystem::stream(&mut reader, sender).await;
    let checked = check.await.map_err(|_| Error::internal("the thread that checks the changes ended"))?;
    match (checked, answer.complaint()) {
        (Ok(changes), _) => Ok(changes),
        // The pod's own words say more than that its stream stopped short.
        (Err(_), Some(why)) => Err(unreadable(&why)),
        (Err(error), None) => Err(error),
    }
}

fn unreadable(why: &str) -> Error {
    Error::user(format!("the changes in the workspace cannot be read: {why}"))
}

/// Chunks as a blocking reader.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let taken = self.current.split_to(buffer.len().min(self.current.len()));
        for (to, from) in buffer.iter_mut().zip(&taken) {
            *to = *from;
        }
        Ok(taken.len())
    }
}
