//! Keeps the network policy of each class in each namespace right, for as long as anything needs it.
//!
//! Whatever may have changed a scope marks it; one task after the other for each scope, it is looked at from the start. Three
//! things can be done: repair the policy, end the sessions that it no longer contains, or delete it after the last of them.
//!
//! Why no pod starts without its policy, although the policy is deleted when nobody needs it: a policy is deleted and applied
//! under its scope's lock; it is needed while any Workspace of the class, or of a class not known yet, is in the very store
//! from which reconciles are started; and the UID of what was deleted is remembered, so that a cache which still shows it
//! convinces nobody.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{
    Client, ResourceExt as _,
    api::{DeleteParams, Preconditions},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, instrument, warn};

use super::{Finding, Scope, is_as, judge};
use crate::{
    apply,
    build::network::{class_policy, class_policy_name},
    caches::{Caches, WorkspaceRef},
    error::chain,
    metrics::{Metrics, PolicyOutcome},
    reason::{Cause, Reason},
    text::printable,
};

/// How long a repair may take. What follows if it fails has to be over within 5 s of the damage, the pods' end included.
const REPAIR_WITHIN: Duration = Duration::from_secs(2);
/// How long applying a policy before a pod may take: a repair of it waits meanwhile.
const ENSURE_WITHIN: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Attempts to delete a policy, and the pause between them. One left behind is deleted after the next event or restart.
const REMOVALS: usize = 5;
const REMOVE_AFTER: Duration = Duration::from_secs(1);

/// Keeps policies. One for the whole operator.
pub struct Keeper {
    client: Client,
    caches: Caches,
    /// Namespace of the gateway.
    namespace: String,
    metrics: Metrics,
    dirty: Mutex<BTreeSet<Scope>>,
    marked: Notify,
    slots: Mutex<HashMap<Scope, Arc<tokio::sync::Mutex<Slot>>>>,
    breaches: Mutex<HashMap<Scope, Cause>>,
    /// Workspaces whose isolation is breached.
    affected: mpsc::Sender<WorkspaceRef>,
}

/// What is to be remembered of a scope between two looks.
#[derive(Default)]
struct Slot {
    /// UID of the policy that was deleted last.
    removed: Option<String>,
}

impl Keeper {
    /// A keeper that sends the workspaces which it can no longer contain to `affected`.
    pub fn new(
        client: Client,
        caches: Caches,
        namespace: String,
        metrics: Metrics,
        affected: mpsc::Sender<WorkspaceRef>,
    ) -> Self {
        Self {
            client,
            caches,
            namespace,
            metrics,
            affected,
            dirty: Mutex::default(),
            marked: Notify::new(),
            slots: Mutex::default(),
            breaches: Mutex::default(),
        }
    }

    /// Why sessions of the scope are not contained, if so.
    pub fn breach(&self, scope: &Scope) -> Option<Cause> {
        lock(&self.breaches).get(scope).cloned()
    }

    /// To be looked at: something that it depends on has changed.
    pub fn mark(&self, scopes: impl IntoIterator<Item = Scope>) {
        lock(&self.dirty).extend(scopes);
        self.marked.notify_one();
    }

    /// A policy was changed or deleted.
    pub fn policy_touched(&self, policy: &NetworkPolicy) {
        // Whoever's it is, and whatever its name and labels say: it may let out the pods of any scope of its namespace.
        let others = self.caches.scopes(policy.metadata.namespace.as_deref());
        self.mark(Scope::of(policy).into_iter().chain(others));
    }

    /// Policies may have been changed unseen.
    pub fn policies_listed(&self) {
        self.mark(self.caches.scopes(None));
    }

    /// Makes sure, before a pod is made, that the scope's policy is in force as far as the API server is concerned.
    pub async fn ensure(&self, scope: &Scope, desired: &NetworkPolicy) -> Result<(), Cause> {
        let slot = self.slot(scope);
        let slot = slot.lock().await;
        match self.find(scope, desired, &slot) {
            Finding::Right => Ok(()),
            Finding::Widened { by } => Err(widened(&by)),
            Finding::Missing | Finding::Wrong => self.repair(desired, ENSURE_WITHIN).await.map_err(|why| {
                Cause::new(
                    Reason::PolicyNotApplied,
                    format!("the network policy could not be applied ({why}); the operator tries again"),
                )
            }),
        }
    }

    /// Looks at marked scopes until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut busy = BTreeSet::new();
        let mut tasks = JoinSet::new();
        loop {
            let ready: Vec<_> = lock(&self.dirty).extract_if(.., |scope| !busy.contains(scope)).collect();
            for scope in ready {
                busy.insert(scope.clone());
                let keeper = Arc::clone(&self);
                tasks.spawn(async move {
                    keeper.keep(&scope).await;
                    scope
                });
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.marked.notified() => {}
                Some(done) = tasks.join_next() => match done {
                    Ok(scope) => { busy.remove(&scope); }
                    // A task that panicked has not kept its scope: everything is looked at again.
                    Err(error) => { warn!(%error, "a look at a policy broke off"); busy.clear(); self.policies_listed(); }
                },
            }
        }
        tasks.shutdown().await;
    }

    /// Looks at one scope and does what is needed.
    #[instrument(skip_all, fields(namespace = %scope.namespace, class = %scope.class))]
    async fn keep(&self, scope: &Scope) {
        let slot = self.slot(scope);
        let mut held = slot.lock().await;
        // Asked under the lock: who comes to need the policy after that waits for it, and finds the policy gone.
        if self.caches.needs_policy(scope) {
            self.keep_right(scope, &held).await;
            return;
        }
        lock(&self.breaches).remove(scope);
        self.remove(scope, &mut held).await;
        drop(held);
        if !self.caches.policies_of(&scope.namespace).iter().any(|policy| scope.is_policy(policy)) {
            self.forget(scope, slot);
        }
    }

    async fn keep_right(&self, scope: &Scope, slot: &Slot) {
        let desired = class_policy(&scope.namespace, &scope.class, &self.namespace);
        let breach = match self.find(scope, &desired, slot) {
            Finding::Right => None,
            // Whoever makes the next pod applies the policy first.
            Finding::Missing if !self.caches.has_pods(scope) => None,
            Finding::Widened { by } => Some(widened(&by)),
            // Also one without pods: as it is, it may let out those of other scopes.
            Finding::Missing | Finding::Wrong => self.repair_in_time(&desired).await.err(),
        };
        match breach.filter(|_| self.caches.has_pods(scope)) {
            None => {
                lock(&self.breaches).remove(scope);
            }
            Some(cause) => self.end_sessions(scope, cause).await,
        }
    }

    fn find(&self, scope: &Scope, desired: &NetworkPolicy, slot: &Slot) -> Finding {
        judge(scope, desired, &self.caches.policies_of(&scope.namespace), slot.removed.as_deref())
    }

    /// Tries until it succeeds or the time is over.
    async fn repair_in_time(&self, desired: &NetworkPolicy) -> Result<(), Cause> {
        let deadline = Instant::now() + REPAIR_WITHIN;
        loop {
            let why = match self.repair(desired, deadline - Instant::now()).await {
                Ok(()) => {
                    self.metrics.policy(PolicyOutcome::Repaired);
                    info!("repaired the network policy of a class");
                    return Ok(());
                }
                Err(why) => why,
            };
            if Instant::now() + RETRY_AFTER >= deadline {
                return Err(Cause::new(
                    Reason::PolicyNotKept,
                    format!(
                        "its network policy was changed and could not be restored ({why}); ask an admin, then start a new workspace"
                    ),
                ));
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// Applies the policy once. An answer that differs from what was asked for is a failure: something rewrites it on its way.
    async fn repair(&self, desired: &NetworkPolicy, within: Duration) -> Result<(), String> {
        match timeout(within, apply::apply(&self.client, desired)).await {
            Ok(Ok(applied)) if is_as(&applied, desired) => Ok(()),
            Ok(Ok(_)) => Err("something changes it while it is written".to_owned()),
            Ok(Err(error)) => Err(printable(&error.answer())),
            Err(_) => Err("the API server does not answer".to_owned()),
        }
    }

    async fn end_sessions(&self, scope: &Scope, cause: Cause) {
        if lock(&self.breaches).insert(scope.clone(), cause.clone()).is_none() {
            warn!(reason = %cause.reason, message = %cause.message, "sessions are not contained and end");
            self.metrics.policy(PolicyOutcome::SessionsEnded);
        }
        for workspace in self.caches.workspaces_with_pods(scope) {
            if self.affected.send(workspace).await.is_err() {
                return;
            }
        }
    }

    /// Deletes the scope's policy, if there is one. That it is needed again meanwhile is known after the slot is free.
    async fn remove(&self, scope: &Scope, slot: &mut Slot) {
        let policies = self.caches.policies_of(&scope.namespace);
        let ours = |policy: &&Arc<NetworkPolicy>| {
            scope.is_policy(policy) && Scope::of(&***policy).as_ref() == Some(scope)
        };
        let Some(policy) = policies.iter().find(ours).filter(|policy| policy.uid() != slot.removed) else {
            return;
        };
        let params = DeleteParams::default()
            .preconditions(Preconditions { uid: policy.uid(), resource_version: None });
        let name = class_policy_name(&scope.class);
        for _ in 0..REMOVALS {
            match apply::delete::<NetworkPolicy>(&self.client, &scope.namespace, &name, &params).await {
                Ok(()) => {
                    slot.removed = policy.uid();
                    return;
                }
                Err(error) => {
                    warn!(error = %chain(&error), "could not delete a network policy that nobody needs");
                }
            }
            sleep(REMOVE_AFTER).await;
        }
    }

    fn slot(&self, scope: &Scope) -> Arc<tokio::sync::Mutex<Slot>> {
        Arc::clone(lock(&self.slots).entry(scope.clone()).or_default())
    }

    /// Forgets about a scope that is over, unless somebody waits for its slot.
    fn forget(&self, scope: &Scope, slot: Arc<tokio::sync::Mutex<Slot>>) {
        let mut slots = lock(&self.slots);
        drop(slot);
        if slots.get(scope).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            slots.remove(scope);
        }
    }
}

fn widened(by: &str) -> Cause {
    Cause::new(
        Reason::PolicyWidened,
        format!(
            "NetworkPolicy `{}` lets the workspace out as well; delete it, or let its podSelector leave out pods with the label {}",
            printable(by),
            ws_api::CLASS_LABEL
        ),
    )
}

/// Nothing is left half done under these locks, so that a panic elsewhere poisons nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
