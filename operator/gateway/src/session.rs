//! A running workspace as this process knows it: who it is, and what is to be written about it.
//!
//! It lives as long as the index or somebody at work holds it, and nothing has to clean up after it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use russh::keys::PublicKey;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use ws_policy::{class::MAX_INSPECTED, decide::BudgetScope};
use ws_ssh::token::Token;

use crate::{
    audit::Burst, body::OwnRoom, decisions::Decisions, report::Account, sessions::Identity,
    upstream::Connections,
};

/// Requests of one workspace at once, on all of its connections.
const REQUESTS: usize = 128;
/// Bytes of one workspace's bodies that are looked into, and of its `WebSockets`' messages, at once: what is left is for others.
const BODIES: usize = 32 << 20;
const _: () = assert!(BODIES as u64 >= MAX_INSPECTED, "the longest has room");

#[derive(Debug)]
pub struct Session {
    identity: Identity,
    account: Mutex<Account>,
    hurry: Notify,
    burst: Mutex<Burst>,
    decisions: Mutex<Decisions>,
    shares: Mutex<HashMap<BudgetScope, u64>>,
    not_found: Mutex<HashMap<String, u64>>,
    connections: OnceLock<Connections>,
    token: OnceLock<Token>,
    requests: Arc<Semaphore>,
    room: OwnRoom,
}

/// One of the requests that a workspace may have under way, until this is dropped.
#[derive(Debug)]
#[must_use = "the request is counted only while this lives"]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Session {
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            account: Mutex::default(),
            hurry: Notify::new(),
            burst: Mutex::default(),
            decisions: Mutex::default(),
            shares: Mutex::default(),
            not_found: Mutex::default(),
            connections: OnceLock::new(),
            token: OnceLock::new(),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            room: OwnRoom::of(BODIES),
        }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether a token is that of the workspace's agent, which `host_key` tells. It is checked once.
    pub fn is_by_agent(&self, token: &Token, host_key: &PublicKey) -> bool {
        if let Some(known) = self.token.get() {
            return known == token;
        }
        let is_of = token.is_of(host_key, &self.identity.pod_uid);
        if is_of {
            self.token.get_or_init(|| *token);
        }
        is_of
    }

    /// The right to one more request, unless it has as many under way as it may.
    pub fn turn(&self) -> Option<Turn> {
        Some(Turn { _permit: self.requests.clone().try_acquire_owned().ok()? })
    }

    /// Room for its own bodies that are looked into, and messages of `WebSockets`.
    pub fn room(&self) -> &OwnRoom {
        &self.room
    }

    /// What is to be written into the Workspace's status.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.account)
    }

    /// Has what is pending written as soon as it may be from now on: its Workspace is about to be gone.
    pub fn end(&self) {
        let is_first = self.account().pace.end();
        if is_first {
            self.hurry();
        }
    }

    /// Has what is pending written before its time.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Resolves once for each [`Session::hurry`], also for one that came before.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Bytes of budgets that are set aside for this process and not sent yet.
    pub fn shares(&self) -> MutexGuard<'_, HashMap<BudgetScope, u64>> {
        lock(&self.shares)
    }

    /// Answers that said there is no such thing, by the rules for which somebody counts.
    pub fn not_found(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        lock(&self.not_found)
    }

    /// What was decided last.
    pub fn decisions(&self) -> MutexGuard<'_, Decisions> {
        lock(&self.decisions)
    }

    /// Its connections to the hosts outside, made when it first asks for something.
    pub fn connections(&self, make: impl FnOnce() -> Connections) -> &Connections {
        self.connections.get_or_init(make)
    }

    /// What may be written into the audit log.
    pub fn burst(&self) -> MutexGuard<'_, Burst> {
        lock(&self.burst)
    }
}

/// A panic between two additions leaves numbers that are still worth having.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
