use k8s_openapi::jiff::ToSpan as _;

use ws_api::workspace::EgressStatus;

use super::*;
use crate::testing::{POD_UID, at, pod, time, workspace};

const MADE_AT: &str = "2026-11-20T10:00:00.2Z";

fn made() -> Made {
    Made {
        class: "default".into(),
        pod_uid: POD_UID.into(),
        ssh: Ssh { host_key: "ssh-ed25519 H".into(), certificates: vec!["C".into()] },
        expires_at: time("2026-11-20T14:00:00Z"),
    }
}

fn with(status: WorkspaceStatus) -> Workspace {
    let mut workspace = workspace();
    workspace.status = Some(status);
    workspace
}

fn started() -> Workspace {
    with(starting(&workspace(), made(), time(MADE_AT)))
}

/// The gateway's part, as its own applies put it there.
fn isolated(workspace: &Workspace) -> Workspace {
    let mut workspace = workspace.clone();
    let status = workspace.status.as_mut().unwrap();
    status.egress = Some(EgressStatus::default());
    status.timings.as_mut().unwrap().isolated = Some(MicroTime(time("2026-11-20T10:00:01.5Z")));
    status.conditions.push(Condition {
        type_: condition::EGRESS_ENFORCED.into(),
        status: "True".into(),
        reason: "Proven".into(),
        message: String::new(),
        last_transition_time: at("2026-11-20T10:00:01Z"),
        observed_generation: None,
    });
    workspace
}

fn running() -> PodState {
    PodState::Running(time("2026-11-20T10:00:01Z"))
}

fn now_of(report: Report) -> WorkspaceStatus {
    match report {
        Report::Now(status) => *status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_start_is_told_in_two_statuses() {
    let first = starting(&workspace(), made(), time(MADE_AT));
    insta::assert_yaml_snapshot!("starting", first);
    let seen = isolated(&with(first));
    let scheduled = Some(time("2026-11-20T10:00:00Z"));
    let ready = now_of(observed(&seen, &running(), scheduled, time("2026-11-20T10:00:01.6Z")));
    insta::assert_yaml_snapshot!("ready", ready);
    let again = observed(&isolated(&with(ready)), &running(), scheduled, time("2026-11-20T11:00:00Z"));
    assert_eq!(again, Report::Nothing);
}

#[test]
fn what_the_gateway_wrote_is_not_applied_by_the_operator() {
    let seen = isolated(&started());
    for status in [
        owned(&seen),
        pending(&seen, &Cause::new(Reason::GatewayMissing, "m"), time(MADE_AT), time(MADE_AT)),
        failed(&seen, &Cause::new(Reason::PodLost, "m"), time(MADE_AT)),
        destroying(&seen, time(MADE_AT)),
        now_of(observed(&seen, &running(), None, time(MADE_AT))),
    ] {
        assert_eq!(status.egress, None);
        assert_eq!(status.timings.and_then(|timings| timings.isolated), None);
        assert!(status.conditions.iter().all(|condition| condition.type_ != condition::EGRESS_ENFORCED));
    }
}

#[test]
fn a_pod_that_runs_is_told_with_its_isolation_or_two_seconds_later() {
    let workspace = started();
    let at = |now: &str| observed(&workspace, &running(), None, time(now));
    assert_eq!(at("2026-11-20T10:00:01.5Z"), Report::Later(SignedDuration::from_millis(1500)));
    let late = now_of(at("2026-11-20T10:00:03Z"));
    assert_eq!(late.phase, Some(Phase::Starting));
    assert!(late.conditions.iter().any(|c| c.type_ == condition::POD_RUNNING && c.status == "True"));
}

#[test]
fn trouble_is_told_at_once_and_once() {
    let state = PodState::NotRunning(Cause::new(Reason::Unschedulable, "no node"));
    let now = time("2026-11-20T10:00:01Z");
    let told = now_of(observed(&started(), &state, None, now));
    assert_eq!((told.phase, told.message.as_deref()), (Some(Phase::Starting), Some("no node")));
    assert_eq!(observed(&with(told), &state, None, now + 5.minutes()), Report::Nothing);
}

#[test]
fn a_pod_that_just_starts_is_not_worth_a_write() {
    let state = PodState::of(&pod(
        "{phase: Pending, conditions: [{type: PodScheduled, status: 'True', lastTransitionTime: '2026-11-20T10:00:00Z'}]}",
    ));
    let scheduled = Some(time("2026-11-20T10:00:00Z"));
    assert_eq!(observed(&started(), &state, scheduled, time("2026-11-20T10:00:01Z")), Report::Nothing);
}

#[test]
fn a_failure_keeps_what_was_known() {
    let failed = failed(
        &isolated(&started()),
        &Cause::new(Reason::EgressBreach, "tcp/10.0.0.1:443 answered"),
        time(MADE_AT),
    );
    insta::assert_yaml_snapshot!("failed", failed);
}

#[test]
fn a_workspace_refused_before_its_lifetime_was_known_goes_like_any_other() {
    let failed = failed(&workspace(), &Cause::new(Reason::ClassNotFound, "m"), time(MADE_AT));
    assert_eq!(failed.expires_at, Some(at("2026-11-20T14:00:00Z")));
    assert_eq!(failed.conditions.len(), 1);
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let ready = |status: &WorkspaceStatus| {
        status.conditions.iter().find(|c| c.type_ == condition::READY).unwrap().last_transition_time.clone()
    };
    let workspace = started();
    let state = PodState::NotRunning(Cause::new(Reason::Unschedulable, "no node"));
    let told = now_of(observed(&workspace, &state, None, time("2026-11-20T10:05:00Z")));
    assert_eq!(ready(&told), Time(time(MADE_AT)));
}
