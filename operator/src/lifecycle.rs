//! What to do about a workspace: a decision over what was observed, and nothing else.

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::ResourceExt as _;
use ws_api::workspace::{Phase, Workspace, WorkspaceStatus};

use crate::{
    build::labels,
    reason::{Cause, Fate, Reason},
    status::{expires_at, pod::PodState},
};

/// The next step in a workspace's life.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// There has been no pod yet: check the workspace and make everything it needs.
    Create,
    /// Report what its pod does.
    Observe(PodState),
    /// Its pod is not to be seen. Ask the API server before it is given up: the cache may be behind.
    LookForPod { uid: String },
    /// It is over; the Workspace stays to tell why, its pod goes.
    Fail(Cause),
    /// It is over as it should be; the Workspace goes, and with it all that it owns.
    Finish,
    /// It has failed and waits for its end. `true` if it still has a pod, which has to go.
    Rest { has_pod: bool },
    /// It is being deleted; the garbage collector does the rest.
    Leave,
}

/// Decides over a workspace, the pod that has its name, and a breach of its class's isolation.
pub fn step(workspace: &Workspace, pod: Option<&Pod>, breach: Option<&Cause>, now: Timestamp) -> Step {
    if workspace.metadata.deletion_timestamp.is_some() {
        return Step::Leave;
    }
    let status = workspace.status.clone().unwrap_or_default();
    let phase = status.phase;
    if (phase == Some(Phase::Failed) || status.expires_at.is_some()) && expires_at(workspace) <= now {
        return Step::Finish;
    }
    let own = |pod: &&Pod| status.pod_uid.is_some() && pod.uid() == status.pod_uid;
    let pod = pod.filter(own);
    if phase == Some(Phase::Failed) {
        return Step::Rest { has_pod: pod.is_some() };
    }
    let Some(uid) = status.pod_uid.clone() else { return Step::Create };
    if let Some(breach) = breach {
        return Step::Fail(breach.clone());
    }
    let Some(pod) = pod else { return Step::LookForPod { uid } };
    if !is_selected(pod, &status) {
        return Step::Fail(Cause::new(
            Reason::PolicyNotKept,
            "its pod's labels were changed, so that its network policy no longer selects it; start a new workspace",
        ));
    }
    match PodState::of(pod) {
        PodState::NotRunning(cause) => match cause.reason.fate() {
            Fate::Waits | Fate::Serves => Step::Observe(PodState::NotRunning(cause)),
            Fate::Fails => Step::Fail(cause),
            Fate::Ends => Step::Finish,
        },
        running @ PodState::Running(_) => Step::Observe(running),
    }
}

/// Whether the network policy of the workspace's class selects the pod. Further labels, as the cluster may add, do not matter.
fn is_selected(pod: &Pod, status: &WorkspaceStatus) -> bool {
    let class = status.class_name.as_deref().and_then(|name| name.parse().ok());
    class.is_some_and(|class| {
        labels(&class).iter().all(|(label, value)| pod.labels().get(label) == Some(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{POD_UID, at, pod, time, workspace};

    /// A workspace with this phase, with or without a pod in its status, that expires at 14:00.
    fn stored(phase: Option<Phase>, has_pod: bool) -> Workspace {
        let mut stored = workspace();
        let status = stored.status.get_or_insert_default();
        status.phase = phase;
        status.class_name = Some("default".into());
        status.pod_uid = has_pod.then(|| POD_UID.into());
        status.expires_at = phase.is_some().then(|| at("2026-11-20T14:00:00Z"));
        stored
    }

    const RUNNING: &str =
        "{phase: Running, containerStatuses: [{name: workspace, image: i, imageID: '', ready: true,
        restartCount: 0, state: {running: {startedAt: '2026-11-20T10:00:01Z'}}}]}";

    #[test]
    fn each_state_has_one_next_step() {
        let (noon, late) = ("2026-11-20T12:00:00Z", "2026-11-20T14:00:00Z");
        let breach = Cause::new(Reason::PolicyWidened, "m");
        let lost = Step::LookForPod { uid: POD_UID.into() };
        let runs = Step::Observe(PodState::Running(time("2026-11-20T10:00:01Z")));
        let ends = "{phase: Failed, reason: DeadlineExceeded}";
        let (starting, ready, failed) = (Some(Phase::Starting), Some(Phase::Ready), Some(Phase::Failed));
        let failure = |status: &str| match PodState::of(&pod(status)) {
            PodState::NotRunning(cause) => Step::Fail(cause),
            PodState::Running(_) => panic!("it runs"),
        };
        for (what, workspace, pod_status, breached, now, expected) in vec![
            ("new", stored(None, false), None, false, noon, Step::Create),
            ("waiting", stored(Some(Phase::Pending), false), None, false, noon, Step::Create),
            ("waiting too long", stored(Some(Phase::Pending), false), None, false, late, Step::Finish),
            ("the pod of a former one", stored(None, false), Some(RUNNING), false, noon, Step::Create),
            ("a breach before there is a pod", stored(None, false), None, true, noon, Step::Create),
            ("starting", stored(starting, true), Some(RUNNING), false, noon, runs.clone()),
            ("ready", stored(ready, true), Some(RUNNING), false, noon, runs),
            ("breached", stored(ready, true), Some(RUNNING), true, noon, Step::Fail(breach.clone())),
            ("breached, the pod not seen", stored(ready, true), None, true, noon, Step::Fail(breach.clone())),
            ("expired", stored(ready, true), Some(RUNNING), false, late, Step::Finish),
            ("expired by the kubelet", stored(ready, true), Some(ends), false, noon, Step::Finish),
            ("dead", stored(ready, true), Some("{phase: Failed}"), false, noon, failure("{phase: Failed}")),
            ("lost", stored(ready, true), None, false, noon, lost),
            ("failed", stored(failed, true), Some(RUNNING), false, noon, Step::Rest { has_pod: true }),
            ("failed, cleaned up", stored(failed, true), None, true, noon, Step::Rest { has_pod: false }),
            ("failed for ever", stored(failed, false), None, false, late, Step::Finish),
        ] {
            let pod = pod_status.map(pod);
            let breach = breached.then_some(&breach);
            assert_eq!(step(&workspace, pod.as_ref(), breach, time(now)), expected, "{what}");
        }
    }

    #[test]
    fn a_pod_that_its_policy_no_longer_selects_fails() {
        type Change = fn(&mut Pod);
        let changes: [(&str, Change, bool); 4] = [
            (
                "another class",
                |pod| drop(pod.labels_mut().insert("ws.dev/class".into(), "open".into())),
                false,
            ),
            ("no class", |pod| drop(pod.labels_mut().remove("ws.dev/class")), false),
            ("nobody's", |pod| drop(pod.labels_mut().remove("app.kubernetes.io/managed-by")), false),
            ("a label more", |pod| drop(pod.labels_mut().insert("zone".into(), "a".into())), true),
        ];
        for (what, change, lives) in changes {
            let mut pod = pod(RUNNING);
            change(&mut pod);
            match step(&stored(Some(Phase::Ready), true), Some(&pod), None, time("2026-11-20T12:00:00Z")) {
                Step::Observe(_) => assert!(lives, "{what}"),
                Step::Fail(cause) => assert!(!lives && cause.reason == Reason::PolicyNotKept, "{what}"),
                other => panic!("{what}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_being_deleted_is_left_alone() {
        let mut workspace = stored(Some(Phase::Ready), true);
        workspace.metadata.deletion_timestamp = Some(at("2026-11-20T11:00:00Z"));
        assert_eq!(step(&workspace, None, None, time("2026-11-20T15:00:00Z")), Step::Leave);
    }

    #[test]
    fn a_pod_of_the_same_name_that_is_not_ours_is_not_looked_at() {
        let mut other = pod("{phase: Failed}");
        other.metadata.uid = Some("another".into());
        let step = step(&stored(Some(Phase::Ready), true), Some(&other), None, time("2026-11-20T12:00:00Z"));
        assert_eq!(step, Step::LookForPod { uid: POD_UID.into() });
    }
}
