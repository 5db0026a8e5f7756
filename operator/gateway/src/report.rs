//! Writes what was decided about a workspace into its status: at once, then once a second while it goes on, and only what changed.
//! Where many workspaces have something to say at once, each says it more seldom, so that the API server has about as much to do; but
//! a host that is denied for the first time is never more than a second late, and of a workspace that ends everything is written
//! before it is gone.
//!
//! The fields are shared by all replicas of the gateway and only ever added to. Each write applies the whole of them to
//! the version of the object that the sums were made from; if another replica (or the operator) wrote in between, the API
//! server refuses it and the sums are made again. A write whose answer is lost may be counted twice, never not at all.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Error,
    api::{Patch, PatchParams},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, error::Elapsed, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, debug, info_span, warn};
use ws_api::{GATEWAY_FIELD_MANAGER, reason::Reason, workspace::Workspace};
use ws_policy::decide::BudgetScope;

mod account;
mod news;
mod pace;

pub use account::{Account, Isolation};

use crate::{
    metrics::{Metrics, Outcome, Patched},
    report::account::{Owned, Seen},
    session::Session,
    sessions::{Identity, Sessions},
};

/// Bounds of the time between two writes of one workspace.
const INTERVAL: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Writes of all workspaces in a second, about.
const RATE: u32 = 100;
/// How long the API server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a write begins anew because somebody else wrote, before it waits.
const CONFLICTS: u32 = 8;
/// Writes of all workspaces at once.
const CONCURRENCY: usize = 16;

/// Writes statuses. Clones share their work.
#[derive(Clone)]
pub struct Reports {
    client: Client,
    sessions: watch::Receiver<Sessions>,
    metrics: Metrics,
    /// The gateway's authority, as PEM.
    authority: Option<Arc<str>>,
    slots: Arc<Semaphore>,
    writers: TaskTracker,
    closing: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the Workspace is gone, or another one has its name")]
    Gone,
    #[error("the API server refused: {0}")]
    Api(#[source] Error),
    #[error("the API server did not answer in time")]
    TimedOut(#[from] Elapsed),
    #[error("others kept writing to the same Workspace")]
    Contended,
}

/// Why no bytes of a budget were set aside.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreserved {
    #[error("the budget is spent")]
    Spent,
    #[error("nobody says what is left of the budget")]
    Unknown,
}

impl Reports {
    pub fn new(client: Client, sessions: watch::Receiver<Sessions>, metrics: Metrics) -> Self {
        Self {
            client,
            sessions,
            metrics,
            authority: None,
            slots: Arc::new(Semaphore::new(CONCURRENCY)),
            writers: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// Has the statuses name the gateway's authority, as PEM.
    #[must_use]
    pub fn vouched_by(self, authority: &str) -> Self {
        Self { authority: Some(authority.into()), ..self }
    }

    /// Counts a denied request. The host is hostile and may be empty.
    pub fn denied(&self, session: &Arc<Session>, host: &str, reason: Reason) {
        self.note(session, |account| account.deny(host, reason, Timestamp::now()));
    }

    /// Counts what was allowed, the bytes that it sent, and whether it was answered that there is no such thing.
    pub fn allowed(&self, session: &Arc<Session>, rule: &str, sent_bytes: u64, is_missing: bool) {
        self.note(session, |account| {
            account.allow(rule, sent_bytes, is_missing);
            false
        });
    }

    /// Answers that said there is no such thing, as the status counts them.
    pub async fn not_found(&self, session: &Session, rule: &str) -> Result<u64, Unreserved> {
        let seen = session.account().seen.clone();
        let seen = if let Some(seen) = seen {
            seen
        } else {
            let identity = session.identity();
            let workspaces: Api<Workspace> = Api::namespaced(self.client.clone(), &identity.namespace);
            let _slot = self.slots.acquire().await;
            read(&workspaces, identity).await.map_err(|_| Unreserved::Unknown)?
        };
        Ok(seen.owned.not_found(rule))
    }

    /// Sets bytes of a budget aside for this process: at least `least`, or none; at most `most`. They are written down before they
    /// may be sent, so that no other replica, and no later life of this one, has them too.
    pub async fn reserve(
        &self,
        session: &Session,
        (scope, limit): &(BudgetScope, u64),
        least: u64,
        most: u64,
    ) -> Result<u64, Unreserved> {
        let _slot = self.slots.acquire().await;
        let seen = session.account().seen.take();
        let mut reserved = None;
        let changed = self.change(session.identity(), seen, |owned| {
            let left = limit.saturating_sub(owned.reserved(scope));
            if left < least {
                reserved = None;
                return None;
            }
            let bytes = most.max(least).min(left);
            reserved = Some(bytes);
            Some(owned.clone().with_reserved(scope, bytes))
        });
        let seen = changed.await.map_err(|error| {
            // Whoever writes the status warns of it, and not for each request.
            debug!(error = &error as &dyn std::error::Error, "cannot set bytes of a budget aside");
            Unreserved::Unknown
        })?;
        let mut account = session.account();
        // What was seen may be old, but budgets are never given back, and who asks once more is answered from it.
        if reserved.is_some() || account.seen.is_none() {
            account.seen = Some(seen);
        }
        reserved.ok_or(Unreserved::Spent)
    }

    /// Records that the session's pod is isolated. Only the first call for a pod has an effect. Whoever waits for the workspace
    /// waits for this, so it is written at once.
    pub fn isolated(&self, session: &Arc<Session>, attempts: u32) {
        self.note(session, |account| account.isolate(Isolation { at: Timestamp::now(), attempts }));
    }

    /// Writes what is pending and returns when that is done, after `deadline` at the latest.
    pub async fn close(&self, deadline: Duration) {
        self.closing.cancel();
        self.writers.close();
        if timeout(deadline, self.writers.wait()).await.is_err() {
            warn!(workspaces = self.writers.len(), "ended with unwritten statuses");
        }
    }

    /// Changes what is pending, and sees to it that it is written: sooner, if the change says that it is more urgent by now.
    fn note(&self, session: &Arc<Session>, change: impl FnOnce(&mut Account) -> bool) {
        let (is_more_urgent, must_write) = {
            let mut account = session.account();
            (change(&mut account), account.engage_writer())
        };
        if must_write {
            let identity = session.identity();
            let span = info_span!("report", namespace = identity.namespace, workspace = %identity.workspace);
            self.writers.spawn(self.clone().write_until_done(session.clone()).instrument(span));
        }
        if is_more_urgent {
            session.hurry();
        }
    }

    async fn write_until_done(self, session: Arc<Session>) {
        loop {
            self.turn(&session).await;
            match self.write(&session).await {
                Ok(()) => (),
                // It keeps its writer, so that no other one starts for it.
                Err(gone @ WriteError::Gone) => return debug!("{gone}"),
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "cannot write the status");
                    if self.closing.is_cancelled() || !self.sessions.borrow().contains(session.identity()) {
                        return;
                    }
                }
            }
            let mut account = session.account();
            account.pace.wrote(Instant::now());
            if account.release_writer() {
                return;
            }
        }
    }

    /// Resolves when what is pending of a workspace is to be written.
    async fn turn(&self, session: &Session) {
        loop {
            let wait = session.account().pace.wait(Instant::now(), self.pause());
            tokio::select! {
                biased;
                // It may have become more urgent.
                () = session.hurried() => (),
                () = sleep(wait) => return,
                () = self.closing.cancelled() => return,
            }
        }
    }

    /// The time between two writes of one workspace, as many as there are now that have something to write.
    fn pause(&self) -> Duration {
        let writers = u32::try_from(self.writers.len()).unwrap_or(u32::MAX);
        (INTERVAL / RATE).saturating_mul(writers).clamp(INTERVAL, MAX_PAUSE)
    }

    /// Writes what is pending, or puts it back.
    async fn write(&self, session: &Session) -> Result<(), WriteError> {
        let _slot = self.slots.acquire().await;
        let (pending, seen) = session.account().take();
        let written = self.change(session.identity(), seen, |owned| {
            let wanted = owned.clone().with(&pending).vouched_by(self.authority.as_deref());
            (wanted != *owned).then_some(wanted)
        });
        let written = written.await;
        let mut account = session.account();
        match written {
            Ok(seen) => {
                account.seen = Some(seen);
                Ok(())
            }
            Err(error) => {
                account.restore(pending);
                Err(error)
            }
        }
    }

    /// Applies what a change makes of the gateway's fields, and makes it anew as often as somebody else was faster. None: they are
    /// left as they are.
    async fn change(
        &self,
        identity: &Identity,
        mut seen: Option<Seen>,
        mut change: impl FnMut(&Owned) -> Option<Owned>,
    ) -> Result<Seen, WriteError> {
        let workspaces: Api<Workspace> = Api::namespaced(self.client.clone(), &identity.namespace);
        for _ in 0..CONFLICTS {
            let current = match seen.take() {
                Some(seen) => seen,
                None => read(&workspaces, identity).await?,
            };
            let Some(wanted) = change(&current.owned) else { return Ok(current) };
            let applied = apply(&workspaces, identity, &current.resource_version, &wanted).await;
            self.metrics.status_patches.get_or_create(&Patched { outcome: outcome(&applied) }).inc();
            match applied {
                Err(WriteError::Api(Error::Api(status))) if status.is_conflict() => (),
                other => return other,
            }
        }
        Err(WriteError::Contended)
    }
}

async fn read(workspaces: &Api<Workspace>, identity: &Identity) -> Result<Seen, WriteError> {
    let workspace = timeout(PATIENCE, workspaces.get(identity.workspace.as_ref())).await??;
    if workspace.metadata.uid.as_deref() != Some(&identity.workspace_uid) {
        return Err(WriteError::Gone);
    }
    Ok(Seen::of(&workspace))
}

async fn apply(
    workspaces: &Api<Workspace>,
    identity: &Identity,
    version: &str,
    owned: &Owned,
) -> Result<Seen, WriteError> {
    let parameters = PatchParams::apply(GATEWAY_FIELD_MANAGER).force().validation_strict();
    let patch = Patch::Apply(owned.to_apply(identity, version));
    let patched = workspaces.patch_status(identity.workspace.as_ref(), &parameters, &patch);
    Ok(Seen::of(&timeout(PATIENCE, patched).await??))
}

fn outcome(applied: &Result<Seen, WriteError>) -> Outcome {
    match applied {
        Ok(_) => Outcome::Written,
        Err(WriteError::Api(Error::Api(status))) if status.is_conflict() => Outcome::Conflict,
        Err(_) => Outcome::Failed,
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) if status.is_not_found() => Self::Gone,
            error => Self::Api(error),
        }
    }
}

#[cfg(test)]
mod tests;
