//! The operator's part of a Workspace's status: a pure function of what it was and what was observed.
//!
//! The gateway applies the rest (`egress`, the condition `EgressEnforced`, `timings.isolated`) under its own field manager, so
//! none of that may appear in what the operator applies: it would take it over.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time},
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt as _;
use ws_api::{
    class::Lifetime,
    workspace::{Phase, Ssh, Workspace, WorkspaceStatus, condition},
};

use crate::{
    reason::{Cause, Fate, Reason},
    validate::created,
};

pub mod pod;

use pod::PodState;

/// A pod that runs is not worth a write of its own: within this time it has usually proven its isolation as well, and both are
/// told at once. The kubelet cuts a start to the whole second before it, hence two for at least one.
const HOLD_BACK: SignedDuration = SignedDuration::from_secs(2);

/// What is known once the pod has been made.
#[derive(Clone, Debug)]
pub struct Made {
    pub class: String,
    pub pod_uid: String,
    pub ssh: Ssh,
    pub expires_at: Timestamp,
}

/// A status, and whether it is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The stored one says it all.
    Nothing,
    /// To be written now.
    Now(Box<WorkspaceStatus>),
    /// To be looked at again after this time: more is to be expected by then.
    Later(SignedDuration),
}

/// When the workspace ends. One that was refused before its class's lifetime was known stays for as long as one without
/// a lifetime would by default.
pub fn expires_at(workspace: &Workspace) -> Timestamp {
    let known = workspace.status.as_ref().and_then(|status| status.expires_at.as_ref());
    let default: std::time::Duration = Lifetime::default().default.into();
    known.map_or_else(|| created(workspace) + default, |time| time.0)
}

/// There is no pod yet: it waits.
pub fn pending(
    workspace: &Workspace,
    cause: &Cause,
    expires_at: Timestamp,
    now: Timestamp,
) -> WorkspaceStatus {
    let mut status = owned(workspace);
    status.expires_at = Some(Time(expires_at));
    tell(&mut status, Phase::Pending, cause, now);
    status
}

/// The pod has just been made.
pub fn starting(workspace: &Workspace, made: Made, now: Timestamp) -> WorkspaceStatus {
    let mut status = owned(workspace);
    status.class_name = Some(made.class);
    status.pod_name = Some(workspace.name_any());
    status.pod_uid = Some(made.pod_uid);
    status.ssh = Some(made.ssh);
    status.expires_at = Some(Time(made.expires_at));
    status.timings.get_or_insert_default().claimed = Some(MicroTime(now));
    let cause = Cause::new(Reason::Starting, "the pod starts");
    set(&mut status, condition::POD_RUNNING, false, &cause, now);
    tell(&mut status, Phase::Starting, &cause, now);
    status
}

/// The pod lives, or may yet.
pub fn observed(
    workspace: &Workspace,
    state: &PodState,
    scheduled: Option<Timestamp>,
    now: Timestamp,
) -> Report {
    let stored = owned(workspace);
    let mut status = stored.clone();
    let timings = status.timings.get_or_insert_default();
    timings.scheduled = timings.scheduled.clone().or(scheduled.map(MicroTime));
    let cause = match state {
        PodState::NotRunning(cause) => {
            set(&mut status, condition::POD_RUNNING, false, cause, now);
            cause.clone()
        }
        PodState::Running(since) => {
            timings.started = timings.started.clone().or(Some(MicroTime(*since)));
            set(
                &mut status,
                condition::POD_RUNNING,
                true,
                &Cause::new(Reason::Serving, "the container runs"),
                now,
            );
            if is_isolated(workspace) {
                Cause::new(Reason::Serving, "it takes sessions")
            } else {
                Cause::new(
                    Reason::ProvingIsolation,
                    "the pod runs and proves that it reaches nothing but the gateway",
                )
            }
        }
    };
    let phase = if cause.reason.fate() == Fate::Serves { Phase::Ready } else { Phase::Starting };
    if phase == Phase::Ready {
        let timings = status.timings.get_or_insert_default();
        timings.ready = timings.ready.clone().or(Some(MicroTime(now)));
    }
    tell(&mut status, phase, &cause, now);
    due(&stored, status, state, cause.reason, now)
}

/// It is over and the Workspace stays to tell.
pub fn failed(workspace: &Workspace, cause: &Cause, now: Timestamp) -> WorkspaceStatus {
    let mut status = owned(workspace);
    status.expires_at = Some(Time(expires_at(workspace)));
    if status.pod_uid.is_some() {
        set(&mut status, condition::POD_RUNNING, false, cause, now);
    }
    tell(&mut status, Phase::Failed, cause, now);
    status
}

/// Its deletion takes longer than it should.
pub fn destroying(workspace: &Workspace, now: Timestamp) -> WorkspaceStatus {
    let mut status = owned(workspace);
    let message = "its deletion waits for the pod to end; see `kubectl describe pod` of the same name";
    tell(&mut status, Phase::Destroying, &Cause::new(Reason::Destroying, message), now);
    status
}

/// What of the stored status the operator has written.
pub fn owned(workspace: &Workspace) -> WorkspaceStatus {
    let mut status = workspace.status.clone().unwrap_or_default();
    status.egress = None;
    status.conditions.retain(|condition| condition.type_ != condition::EGRESS_ENFORCED);
    if let Some(timings) = &mut status.timings {
        timings.isolated = None;
    }
    status.observed_generation = workspace.metadata.generation;
    status
}

fn is_isolated(workspace: &Workspace) -> bool {
    let conditions = workspace.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition.type_ == condition::EGRESS_ENFORCED && condition.status == "True")
}

fn due(
    stored: &WorkspaceStatus,
    status: WorkspaceStatus,
    state: &PodState,
    reason: Reason,
    now: Timestamp,
) -> Report {
    // When a step was done is told with what it led to.
    let same = WorkspaceStatus { timings: stored.timings.clone(), ..status.clone() } == *stored;
    match state {
        _ if same => Report::Nothing,
        PodState::Running(since) if reason == Reason::ProvingIsolation && now < *since + HOLD_BACK => {
            Report::Later((*since + HOLD_BACK).duration_since(now))
        }
        PodState::Running(_) | PodState::NotRunning(_) => Report::Now(Box::new(status)),
    }
}

/// Phase, message and the condition `Ready`, which always agree.
fn tell(status: &mut WorkspaceStatus, phase: Phase, cause: &Cause, now: Timestamp) {
    status.phase = Some(phase);
    status.message = Some(cause.message.clone());
    set(status, condition::READY, phase == Phase::Ready, cause, now);
}

fn set(status: &mut WorkspaceStatus, type_: &str, is: bool, cause: &Cause, now: Timestamp) {
    let value = if is { "True" } else { "False" };
    let observed_generation = status.observed_generation;
    let old = status.conditions.iter().position(|condition| condition.type_ == type_);
    let old = old.map(|index| status.conditions.remove(index));
    let unchanged_since = old.filter(|old| old.status == value).map(|old| old.last_transition_time);
    status.conditions.push(Condition {
        type_: type_.into(),
        status: value.into(),
        reason: cause.reason.to_string(),
        message: cause.message.clone(),
        last_transition_time: unchanged_since.unwrap_or(Time(now)),
        observed_generation,
    });
    status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

#[cfg(test)]
mod tests;
