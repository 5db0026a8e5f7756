use super::*;
use crate::{
    reason::Fate,
    testing::{pod, time},
};

fn cause(status: &str) -> Cause {
    match PodState::of(&pod(status)) {
        PodState::NotRunning(cause) => cause,
        PodState::Running(at) => panic!("it runs since {at}"),
    }
}

fn container(state: &str) -> String {
    format!(
        "{{phase: Pending, containerStatuses: [{{name: workspace, image: 'acme/app:1', imageID: '', ready: false,
          restartCount: 0, state: {state}}}]}}"
    )
}

fn terminated(rest: &str) -> String {
    container(&format!("{{terminated: {{{rest}}}}}")).replace("Pending", "Failed")
}

#[test]
fn a_running_container_is_running() {
    let running = container("{running: {startedAt: '2026-11-20T10:00:03Z'}}");
    assert_eq!(PodState::of(&pod(&running)), PodState::Running(time("2026-11-20T10:00:03Z")));
}

#[test]
fn a_pod_that_does_not_run_says_why() {
    let waiting = |reason: &str| container(&format!("{{waiting: {{reason: {reason}, message: why}}}}"));
    let unschedulable = "{phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: why}]}";
    let init = "{phase: Pending, initContainerStatuses: [{name: i, image: x, imageID: '', ready: false, restartCount: 0,
        state: {waiting: {reason: ImagePullBackOff}}}]}";
    let failed_init = "{phase: Failed, initContainerStatuses: [{name: i, image: x, imageID: '', ready: false, restartCount: 0,
        state: {terminated: {exitCode: 3}}}]}";
    let ending = |reason: &str| {
        terminated(&format!("exitCode: 0, message: '{{\"reason\":\"{reason}\",\"message\":\"m\"}}'"))
    };
    let node = |reason: &str| format!("{{phase: Failed, reason: {reason}, message: why}}");
    for (status, reason, fate) in [
        ("{}".into(), Reason::Starting, Fate::Waits),
        (waiting("ContainerCreating"), Reason::Starting, Fate::Waits),
        (waiting("SomethingNew"), Reason::Starting, Fate::Waits),
        (waiting("ErrImagePull"), Reason::ErrImagePull, Fate::Fails),
        (waiting("CreateContainerError"), Reason::CreateContainerError, Fate::Waits),
        (unschedulable.into(), Reason::Unschedulable, Fate::Waits),
        (waiting("ImagePullBackOff"), Reason::ImagePullBackOff, Fate::Fails),
        (waiting("InvalidImageName"), Reason::InvalidImageName, Fate::Fails),
        (waiting("ErrImageNeverPull"), Reason::ErrImageNeverPull, Fate::Fails),
        (waiting("CreateContainerConfigError"), Reason::CreateContainerConfigError, Fate::Fails),
        (waiting("RunContainerError"), Reason::RunContainerError, Fate::Fails),
        (init.into(), Reason::ImagePullBackOff, Fate::Fails),
        (failed_init.into(), Reason::AgentNotInstalled, Fate::Fails),
        (terminated("exitCode: 137, reason: OOMKilled"), Reason::OutOfMemory, Fate::Fails),
        (terminated("exitCode: 128, reason: StartError"), Reason::RunContainerError, Fate::Fails),
        (terminated("exitCode: 1, message: panicked"), Reason::PodFailed, Fate::Fails),
        (node("Evicted"), Reason::Evicted, Fate::Fails),
        (node("NodeLost"), Reason::NodeLost, Fate::Fails),
        (node("Terminated"), Reason::NodeShutdown, Fate::Fails),
        (node("OutOfcpu"), Reason::PodRejected, Fate::Fails),
        (node("DeadlineExceeded"), Reason::Expired, Fate::Ends),
        ("{phase: Failed}".into(), Reason::PodFailed, Fate::Fails),
        (ending("EgressNotEnforced"), Reason::EgressNotEnforced, Fate::Fails),
        (ending("EgressBreach"), Reason::EgressBreach, Fate::Fails),
        (ending("GatewayUnreachable"), Reason::GatewayUnreachable, Fate::Fails),
        (ending("Misconfigured"), Reason::Misconfigured, Fate::Fails),
        (ending("Idle"), Reason::Idle, Fate::Ends),
        (ending("Terminated"), Reason::Terminated, Fate::Ends),
        (ending("Serving"), Reason::PodFailed, Fate::Fails),
    ] {
        let cause = cause(&status);
        assert_eq!((cause.reason, cause.reason.fate()), (reason, fate), "{status}");
        assert!(!cause.message.is_empty());
    }
}

#[test]
fn a_pod_that_the_cluster_takes_away_is_not_waited_for() {
    let disrupted = |reason: &str| {
        let status = container("{running: {startedAt: '2026-11-20T10:00:03Z'}}").replace(
            "{phase",
            &format!("{{conditions: [{{type: DisruptionTarget, status: 'True', reason: {reason}}}], phase"),
        );
        let mut pod = pod(&status);
        let before = PodState::of(&pod);
        pod.metadata.deletion_timestamp = Some(crate::testing::at("2026-11-20T11:00:00Z"));
        (before, PodState::of(&pod))
    };
    for (why, reason) in [
        ("DeletionByTaintManager", Reason::NodeLost),
        ("EvictionByEvictionAPI", Reason::Evicted),
        ("PreemptionByScheduler", Reason::Preempted),
    ] {
        let (before, after) = disrupted(why);
        assert!(matches!(before, PodState::Running(_)), "{why}");
        assert!(matches!(after, PodState::NotRunning(cause) if cause.reason == reason), "{why}");
    }
}

#[test]
fn a_hostile_termination_message_is_escaped_and_cut() {
    let message = format!("\u{1b}]52;c;{}\u{7}", "A".repeat(4000));
    let status = terminated(&format!("exitCode: 1, message: {}", serde_json::to_string(&message).unwrap()));
    let shown = cause(&status).message;
    assert!(shown.chars().all(|c| !c.is_control()), "{shown}");
    assert!(shown.len() < 1024, "{}", shown.len());
}
