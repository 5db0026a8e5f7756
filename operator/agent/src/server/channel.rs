//! The states of a channel: open, then in use for one thing.

use russh::{ChannelWriteHalf, server::Msg};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use ws_ssh::{Feed, Inbox, inbox::Store};

use super::variables::Variables;
use crate::session::{outlet::Outlet, program::Control, terminal::Wanted};

/// A channel. Dropping it ends what it is used for.
pub enum Channel {
    /// A session that has not said what for.
    Waiting(Box<Waiting>),
    Running(Running),
}

pub struct Waiting {
    pub writer: ChannelWriteHalf<Msg>,
    pub feed: Feed,
    pub inbox: Inbox,
    pub terminal: Option<Wanted>,
    pub variables: Variables,
}

pub struct Running {
    /// `None` when the client has sent all.
    pub feed: Option<Feed>,
    pub control: Option<Control>,
    pub outlet: Outlet,
    task: JoinHandle<()>,
    _close: DropGuard,
}

impl Waiting {
    pub fn new(writer: ChannelWriteHalf<Msg>, store: Store) -> Self {
        let (feed, inbox) = ws_ssh::inbox(store);
        Self { writer, feed, inbox, terminal: None, variables: Variables::default() }
    }
}

impl Running {
    /// A channel that `task` works for until `close` is cancelled.
    pub fn new(feed: Feed, outlet: Outlet, task: JoinHandle<()>, close: CancellationToken) -> Self {
        Self { feed: Some(feed), control: None, outlet, task, _close: close.drop_guard() }
    }

    /// The same, with a program that the client can control.
    #[must_use]
    pub fn controlled_by(self, control: Option<Control>) -> Self {
        Self { control, ..self }
    }
}

impl Channel {
    /// Whether its work is done. russh does not tell when the client then closes it too.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Waiting(_) => false,
            Self::Running(running) => running.task.is_finished(),
        }
    }

    pub fn feed(&self) -> Option<&Feed> {
        match self {
            Self::Waiting(waiting) => Some(&waiting.feed),
            Self::Running(running) => running.feed.as_ref(),
        }
    }
}
