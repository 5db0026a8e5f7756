//! One look at one workspace: read → decide → act → report. Starts from the top each time; what triggered it only says which
//! workspace to look at.

use std::{pin::pin, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::Pod,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        controller::Action,
        events::{Event, EventType, Recorder},
    },
};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, instrument, warn};
use ws_api::workspace::{Phase, Workspace, WorkspaceSpec, WorkspaceStatus};

use crate::{
    apply,
    build::Installation,
    caches::Caches,
    error::{Error, chain},
    fresh::Fresh,
    lifecycle::{Step, step},
    metrics::{Metrics, ReconcileOutcome},
    policy::{Scope, keeper::Keeper},
    reason::{Cause, Reason},
    status::{self, Report, pod::PodState},
    text::printable,
    user_ca::UserCa,
    validate::created,
};

mod create;

/// How long the garbage collector may leave a pod alone. It looks for new kinds of objects every 30 s only, so it knows
/// nothing of workspaces in the first moments after ws was installed.
const LATE_COLLECTION: Duration = Duration::from_secs(3);
/// How long a deletion may take before the status says that it takes long.
const LONG_DELETION: Duration = Duration::from_secs(10);
/// How far the word why a workspace failed may be ahead of the end of its pod, which has to be soon if it is not contained.
const HEAD_START: Duration = Duration::from_millis(500);
/// When an error is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What a reconcile works with.
pub struct Context {
    pub client: Client,
    pub caches: Caches,
    pub keeper: Arc<Keeper>,
    pub installation: Arc<Installation>,
    pub user_ca: UserCa,
    pub fresh: Fresh,
    pub metrics: Metrics,
    pub recorder: Recorder,
}

/// Reconciles one workspace, readable or not.
#[instrument(skip_all, fields(namespace = object.namespace(), workspace = object.name_any()))]
pub async fn reconcile(object: Arc<DeserializeGuard<Workspace>>, ctx: Arc<Context>) -> Result<Action, Error> {
    if !ctx.caches.ready().await {
        return Err(Error::Stopped);
    }
    let started = Instant::now();
    let result = match &object.0 {
        // On the heap: what is built on the way is large, and hundreds of these run at a time.
        Ok(workspace) => Box::pin(look(&ctx.fresh.newest(workspace), &ctx, Timestamp::now())).await,
        Err(invalid) => refuse_unreadable(invalid, &ctx).await,
    };
    let outcome = if result.is_ok() { ReconcileOutcome::Done } else { ReconcileOutcome::Failed };
    ctx.metrics.reconciled(outcome, started.elapsed());
    result
}

/// What to do after an error.
pub fn error_policy(_: Arc<DeserializeGuard<Workspace>>, error: &Error, _: Arc<Context>) -> Action {
    warn!(error = %chain(error), reason = error.reason(), "a reconcile broke off");
    if error.is_retryable() { Action::requeue(RETRY_AFTER) } else { Action::await_change() }
}

async fn look(workspace: &Workspace, ctx: &Context, now: Timestamp) -> Result<Action, Error> {
    let pod = ctx.caches.pod(workspace);
    let breach = scope(workspace).and_then(|scope| ctx.keeper.breach(&scope));
    match step(workspace, pod.as_deref(), breach.as_ref(), now) {
        Step::LookForPod { uid } => Box::pin(look_for_pod(workspace, &uid, ctx, now)).await,
        decided => act(decided, workspace, pod.as_deref(), ctx, now).await,
    }
}

/// Decides once more, over the pod as the API server has it.
async fn look_for_pod(
    workspace: &Workspace,
    uid: &str,
    ctx: &Context,
    now: Timestamp,
) -> Result<Action, Error> {
    let pod = live_pod(workspace, ctx).await?.filter(|pod| pod.uid().as_deref() == Some(uid));
    let decided = match step(workspace, pod.as_ref(), None, now) {
        Step::LookForPod { .. } => Step::Fail(Cause::new(
            Reason::PodLost,
            "its pod is gone, and it was not ws that deleted it; start a new workspace",
        )),
        decided => decided,
    };
    act(decided, workspace, pod.as_ref(), ctx, now).await
}

async fn act(
    decided: Step,
    workspace: &Workspace,
    pod: Option<&Pod>,
    ctx: &Context,
    now: Timestamp,
) -> Result<Action, Error> {
    match decided {
        Step::Create => create::create(workspace, ctx, now).await,
        Step::Observe(state) => observe(workspace, pod, &state, ctx, now).await,
        Step::Fail(cause) => fail(workspace, &cause, ctx, now).await,
        Step::Finish => finish(workspace, ctx).await,
        Step::Rest { has_pod } => {
            if has_pod {
                delete_pod(workspace, ctx).await?;
            }
            Ok(at_expiry(workspace, now))
        }
        Step::Leave => leave(workspace, ctx, now).await,
        // Answered before: a workspace whose pod is not there even now has failed.
        Step::LookForPod { .. } => Ok(Action::await_change()),
    }
}

async fn observe(
    workspace: &Workspace,
    pod: Option<&Pod>,
    state: &PodState,
    ctx: &Context,
    now: Timestamp,
) -> Result<Action, Error> {
    let scheduled = pod.and_then(status::pod::scheduled_at);
    match status::observed(workspace, state, scheduled, now) {
        Report::Nothing => Ok(at_expiry(workspace, now)),
        Report::Later(after) => Ok(Action::requeue(after.unsigned_abs())),
        Report::Now(status) => {
            report(workspace, &status, ctx).await?;
            let phase = |status: Option<&WorkspaceStatus>| status.and_then(|status| status.phase);
            if phase(Some(&status)) == Some(Phase::Ready)
                && phase(workspace.status.as_ref()) != Some(Phase::Ready)
            {
                let after = now.duration_since(created(workspace)).unsigned_abs();
                info!(after_ms = after.as_millis(), "the workspace is ready");
                ctx.metrics.ready(after);
                publish(workspace, EventType::Normal, Reason::Serving, "it takes sessions", ctx).await;
            }
            Ok(at_expiry(workspace, now))
        }
    }
}

/// Takes away a workspace that is over as it should be.
async fn finish(workspace: &Workspace, ctx: &Context) -> Result<Action, Error> {
    info!("the workspace is over and is deleted");
    apply::delete_workspace(&ctx.client, workspace).await?;
    Ok(Action::await_change())
}

/// Ends a workspace for good: says why, then takes its pod away. The pod goes even if the status cannot be written, or not
/// soon.
async fn fail(workspace: &Workspace, cause: &Cause, ctx: &Context, now: Timestamp) -> Result<Action, Error> {
    info!(reason = %cause.reason, message = %cause.message, "the workspace failed");
    let status = status::failed(workspace, cause, now);
    let mut report = pin!(report(workspace, &status, ctx));
    let in_time = timeout(HEAD_START, report.as_mut()).await;
    let deleted = delete_pod(workspace, ctx).await;
    match in_time {
        Ok(reported) => reported?,
        Err(_) => report.await?,
    }
    // Before the deletion's error: once the status is written, nobody comes here again.
    ctx.metrics.failed(cause.reason);
    publish(workspace, EventType::Warning, cause.reason, &cause.message, ctx).await;
    deleted?;
    Ok(at_expiry(workspace, now))
}

/// Takes away the workspace's pod: the one in the status, or one that was made just before the operator died.
async fn delete_pod(workspace: &Workspace, ctx: &Context) -> Result<(), Error> {
    let known = workspace.status.as_ref().and_then(|status| status.pod_uid.clone());
    let seen = || ctx.caches.pod(workspace).filter(|pod| owns(workspace, pod)).and_then(|pod| pod.uid());
    let Some(uid) = known.or_else(seen) else { return Ok(()) };
    let namespace = workspace.namespace().unwrap_or_default();
    apply::delete_pod(&ctx.client, &namespace, &workspace.name_any(), &uid).await
}

/// The garbage collector deletes what the workspace owns. If that is late, the pod goes without it; if it takes long, the
/// status says so.
async fn leave(workspace: &Workspace, ctx: &Context, now: Timestamp) -> Result<Action, Error> {
    let since = workspace.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let (late, long) = (since + LATE_COLLECTION, since + LONG_DELETION);
    if now < late {
        return Ok(Action::requeue(late.duration_since(now).unsigned_abs()));
    }
    if ctx.caches.pod(workspace).is_some_and(|pod| pod.metadata.deletion_timestamp.is_none()) {
        delete_pod(workspace, ctx).await?;
    }
    if now < long {
        return Ok(Action::requeue(long.duration_since(now).unsigned_abs()));
    }
    if workspace.status.as_ref().and_then(|status| status.phase) != Some(Phase::Destroying) {
        report(workspace, &status::destroying(workspace, now), ctx).await?;
    }
    Ok(Action::await_change())
}

/// Says that the object is not what the schema says it can be: an older operator, or a schema that was tampered with.
async fn refuse_unreadable(invalid: &InvalidObject, ctx: &Context) -> Result<Action, Error> {
    let mut workspace = Workspace::new("", WorkspaceSpec::default());
    workspace.metadata = invalid.metadata.clone();
    if workspace.metadata.deletion_timestamp.is_none() {
        let message = format!(
            "the stored object does not fit this operator's schema ({}); update ws, or create the workspace anew",
            printable(&invalid.error)
        );
        let status =
            status::failed(&workspace, &Cause::new(Reason::Unreadable, message), created(&workspace));
        apply::report(&ctx.client, &workspace, &status).await?;
    }
    Ok(Action::await_change())
}

async fn report(workspace: &Workspace, status: &WorkspaceStatus, ctx: &Context) -> Result<(), Error> {
    if status::owned(workspace) == *status {
        return Ok(());
    }
    if let Some(written) = apply::report(&ctx.client, workspace, status).await? {
        ctx.fresh.wrote(written);
    } else {
        debug!("the workspace is gone");
    }
    Ok(())
}

/// Tells the event's reader what the status tells as well, so losing one is no loss.
async fn publish(workspace: &Workspace, type_: EventType, reason: Reason, note: &str, ctx: &Context) {
    let event = Event {
        type_,
        reason: reason.to_string(),
        note: Some(note.chars().take(1000).collect()),
        action: "Reconcile".into(),
        secondary: None,
    };
    if let Err(error) = ctx.recorder.publish(&event, &workspace.object_ref(&())).await {
        warn!(error = %chain(&error), "could not publish an event");
    }
}

async fn live_pod(workspace: &Workspace, ctx: &Context) -> Result<Option<Pod>, Error> {
    let namespace = workspace.namespace().unwrap_or_default();
    let name = workspace.name_any();
    let pods = Api::<Pod>::namespaced(ctx.client.clone(), &namespace);
    pods.get_opt(&name).await.map_err(|source| Error::Read { kind: "Pod".into(), name, source })
}

/// Whether the pod is the workspace's own.
fn owns(workspace: &Workspace, pod: &Pod) -> bool {
    pod.owner_references().iter().any(|owner| Some(&owner.uid) == workspace.metadata.uid.as_ref())
}

fn at_expiry(workspace: &Workspace, now: Timestamp) -> Action {
    Action::requeue(
        status::expires_at(workspace).duration_since(now).max(SignedDuration::ZERO).unsigned_abs(),
    )
}

/// The scope of a workspace that has been given a class.
fn scope(workspace: &Workspace) -> Option<Scope> {
    let class = workspace.status.as_ref()?.class_name.as_ref()?.parse().ok()?;
    Some(Scope { namespace: workspace.namespace()?, class })
}

#[cfg(test)]
mod tests;
