//! The project comes in once, and what changed goes out: two subsystems around `ws-tree`, which does both.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};
use tokio_util::sync::CancellationToken;
use ws_api::ssh::{CHANGES_SUBSYSTEM, RECEIVE_SUBSYSTEM};
use ws_ssh::Inbox;
use ws_tree::{Confined, Limits, Received, SendOptions, Warning};

use crate::{
    lock::lock,
    reaper::Exit,
    session::outlet::{Outlet, Stream},
};

/// Pieces of up to 1 MiB that wait to be sent.
const PIECES: usize = 4;
/// Exit status of a transfer that failed; the reason is on standard error.
const FAILED: u32 = 1;

/// The workspace's project.
#[derive(Clone, Debug)]
pub struct Project {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug)]
enum State {
    Empty,
    /// Being received, or it could not be: then there is no second try, because the folder is not empty.
    Begun,
    /// What was received is what changes are told from.
    Received(Arc<Received>),
}

/// What a subsystem does.
#[derive(Debug)]
pub enum Transfer {
    Receive(Project),
    SendChanges(Project),
}

/// The subsystem with this name, if there is one and it may be begun.
pub fn by_name(name: &str, project: &Project) -> Option<Transfer> {
    match name {
        RECEIVE_SUBSYSTEM => project.begin().then(|| Transfer::Receive(project.clone())),
        CHANGES_SUBSYSTEM => Some(Transfer::SendChanges(project.clone())),
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("opening {0}")]
    Open(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Receive(#[from] ws_tree::ReceiveError),
    #[error("no project was received")]
    NothingReceived,
    #[error(transparent)]
    Compare(#[from] ws_tree::changes::CompareError),
    #[error(transparent)]
    Send(#[from] ws_tree::SendError),
    #[error("the transfer was interrupted")]
    Interrupted(#[from] JoinError),
}

impl Project {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, state: Arc::new(Mutex::new(State::Empty)) }
    }

    /// Whether a project may be received: true once.
    fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        let empty = matches!(*state, State::Empty);
        if empty {
            *state = State::Begun;
        }
        empty
    }

    fn set_received(&self, received: Received) {
        *lock(&self.state) = State::Received(Arc::new(received));
    }

    fn received(&self) -> Option<Arc<Received>> {
        match &*lock(&self.state) {
            State::Received(received) => Some(Arc::clone(received)),
            State::Empty | State::Begun => None,
        }
    }

    fn open(&self) -> Result<Confined, TransferError> {
        Confined::open(&self.directory).map_err(|error| TransferError::Open(self.directory.clone(), error))
    }

    fn receive(&self, input: impl Read) -> Result<Bytes, TransferError> {
        let received = ws_tree::receive(input, &self.open()?, &Limits::PROJECT)?;
        let receipt = Bytes::copy_from_slice(&received.receipt().encode());
        self.set_received(received);
        Ok(receipt)
    }

    fn send_changes(&self, output: impl Write + Send) -> Result<Vec<Warning>, TransferError> {
        let before = self.received().ok_or(TransferError::NothingReceived)?;
        let root = self.open()?;
        let changes = ws_tree::compare(&before, &root, &Limits::CHANGES)?;
        Ok(ws_tree::send_changes(&root, &changes, output, &SendOptions::default())?)
    }
}

impl Transfer {
    /// Runs the transfer on its channel, until that is closed.
    pub async fn run(self, inbox: Inbox, outlet: Outlet, closed: CancellationToken) {
        let served = async {
            let done = match self {
                Self::Receive(project) => receive(project, inbox, &outlet).await,
                Self::SendChanges(project) => send_changes(project, &outlet).await,
            };
            match done {
                Ok(()) => outlet.finish(Exit::Code(0)).await,
                Err(error) => outlet.fail(FAILED, &one_line(&error)).await,
            }
        };
        tokio::select! {
            () = closed.cancelled() => (),
            () = served => (),
        }
    }
}

async fn receive(project: Project, inbox: Inbox, outlet: &Outlet) -> Result<(), TransferError> {
    let input = InboxReader { inbox, left: Bytes::new(), runtime: Handle::current() };
    let receipt = spawn_blocking(move || project.receive(input)).await??;
    outlet.send(Stream::Output, receipt).await.ok();
    Ok(())
}

async fn send_changes(project: Project, outlet: &Outlet) -> Result<(), TransferError> {
    let (sender, mut pieces) = mpsc::channel(PIECES);
    let sending = spawn_blocking(move || project.send_changes(PieceWriter(sender)));
    while let Some(piece) = pieces.recv().await {
        if outlet.send(Stream::Output, piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    for warning in sending.await?? {
        outlet.send(Stream::Error, format!("ws: {warning}\r\n").into()).await.ok();
    }
    Ok(())
}

/// The error and its causes.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// An [`Inbox`] for a blocking thread.
struct InboxReader {
    inbox: Inbox,
    left: Bytes,
    runtime: Handle,
}

impl Read for InboxReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            self.left = self.runtime.block_on(self.inbox.next())?.unwrap_or_default();
        }
        let length = self.left.len().min(buffer.len());
        self.left.split_to(length).copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

/// Sends pieces from a blocking thread.
struct PieceWriter(mpsc::Sender<Bytes>);

impl Write for PieceWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(data);
        self.0.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the folder that the project will be received into.
pub fn prepare(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}
