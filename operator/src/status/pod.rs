//! What a pod's status says about its workspace.
//!
//! Fails fast on what never heals by itself, and names everything else while it lasts. The container's termination message is
//! the agent's word until user code has run, and a stranger's afterwards: it is parsed, escaped and cut, never obeyed beyond
//! ending the pod that wrote it.

use k8s_openapi::{
    api::core::v1::{
        ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus,
    },
    jiff::Timestamp,
};
use ws_api::{CONTAINER, termination::Ending};

use crate::{
    reason::{Cause, Reason},
    text::printable,
};

/// A pod as far as a workspace cares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PodState {
    /// The container runs, since then.
    Running(Timestamp),
    /// It does not, and why.
    NotRunning(Cause),
}

impl PodState {
    pub fn of(pod: &Pod) -> Self {
        let default = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&default);
        if let Some(cause) = disrupted(pod, status).or_else(|| ended(status)) {
            return Self::NotRunning(cause);
        }
        let main = container(status);
        if let Some(running) = main.and_then(|main| main.state.as_ref()?.running.as_ref()) {
            return Self::Running(running.started_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0));
        }
        let containers = status.init_container_statuses.iter().flatten().chain(main);
        let mut waiting =
            containers.filter_map(|container| Some((container, container.state.as_ref()?.waiting.as_ref()?)));
        let trouble = waiting.find_map(|(container, waiting)| waits(container, waiting));
        Self::NotRunning(trouble.or_else(|| unschedulable(status)).unwrap_or_else(starting))
    }
}

/// When the scheduler had found a node, to the second.
pub fn scheduled_at(pod: &Pod) -> Option<Timestamp> {
    let condition = condition(pod.status.as_ref()?, "PodScheduled")?;
    (condition.status == "True").then_some(condition.last_transition_time.as_ref()?.0)
}

fn starting() -> Cause {
    Cause::new(Reason::Starting, "the pod starts")
}

fn container(status: &PodStatus) -> Option<&ContainerStatus> {
    status.container_statuses.iter().flatten().find(|container| container.name == CONTAINER)
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// A pod that the cluster is taking away, while its kubelet may be silent for ever.
fn disrupted(pod: &Pod, status: &PodStatus) -> Option<Cause> {
    pod.metadata.deletion_timestamp.as_ref()?;
    let disruption = condition(status, "DisruptionTarget").filter(|condition| condition.status == "True")?;
    let detail = printable(disruption.message.as_deref().unwrap_or_default());
    let (reason, what) = match disruption.reason.as_deref() {
        Some("DeletionByTaintManager" | "DeletionByPodGC") => (Reason::NodeLost, "its node is lost"),
        Some("PreemptionByScheduler") => (Reason::Preempted, "a pod of a higher priority took its place"),
        _ => (Reason::Evicted, "it was evicted"),
    };
    Some(Cause::new(reason, format!("{what} ({detail}); start a new workspace")))
}

fn unschedulable(status: &PodStatus) -> Option<Cause> {
    let condition = condition(status, "PodScheduled").filter(|condition| condition.status == "False")?;
    let detail = printable(condition.message.as_deref().unwrap_or_default());
    Some(Cause::new(
        Reason::Unschedulable,
        format!(
            "no node takes the pod ({detail}); it starts when one does, or ask for a class with smaller resources"
        ),
    ))
}

/// What a waiting container waits for, if it is more than its turn.
fn waits(container: &ContainerStatus, waiting: &ContainerStateWaiting) -> Option<Cause> {
    let image = printable(&container.image);
    let detail = printable(waiting.message.as_deref().unwrap_or_default());
    // The agent's image is mounted beside one that lacks the agent; the kubelet's text names the one it means.
    let pull = format!(
        "image `{image}`, or the agent's beside it, cannot be pulled ({detail}); check its name and the namespace's access to it"
    );
    let make = format!("the container cannot be made ({detail})");
    let (reason, message) = match waiting.reason.as_deref()? {
        "ErrImagePull" => (Reason::ErrImagePull, pull),
        "ImagePullBackOff" => (Reason::ImagePullBackOff, pull),
        "InvalidImageName" => (Reason::InvalidImageName, pull),
        "ErrImageNeverPull" => (Reason::ErrImageNeverPull, pull),
        "CreateContainerConfigError" => (Reason::CreateContainerConfigError, make),
        "CreateContainerError" => (Reason::CreateContainerError, format!("{make}; it is tried again")),
        "RunContainerError" => (Reason::RunContainerError, make),
        // `ContainerCreating`, `PodInitializing`, and what later kubelets may call their steps.
        _ => return None,
    };
    Some(Cause::new(reason, message))
}

/// Why a pod ended, if it did.
fn ended(status: &PodStatus) -> Option<Cause> {
    let main = container(status).and_then(|main| main.state.as_ref()?.terminated.as_ref());
    let over = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    if !over && main.is_none() {
        return None;
    }
    let word = main.and_then(|main| Ending::parse(main.message.as_deref()?));
    Some(
        killed_by_the_node(status)
            .or_else(|| word.as_ref().map(agents_word))
            .or_else(|| main.map(died))
            .or_else(|| not_installed(status))
            .unwrap_or_else(|| {
                Cause::new(Reason::PodFailed, "the pod ended without a word; start a new workspace")
            }),
    )
}

/// The kubelet's own reasons stand in the pod's status, out of reach of what runs in the pod.
fn killed_by_the_node(status: &PodStatus) -> Option<Cause> {
    let detail = printable(status.message.as_deref().unwrap_or_default());
    Some(match status.reason.as_deref()? {
        "DeadlineExceeded" => Cause::new(Reason::Expired, "its time is up"),
        "Evicted" => Cause::new(
            Reason::Evicted,
            format!("the node was short of a resource ({detail}); ask for a class with larger requests"),
        ),
        "Terminated" | "NodeShutdown" | "Shutdown" => {
            Cause::new(Reason::NodeShutdown, format!("its node shut down ({detail}); start a new workspace"))
        }
        "NodeLost" => {
            Cause::new(Reason::NodeLost, format!("its node is lost ({detail}); start a new workspace"))
        }
        other => Cause::new(
            Reason::PodRejected,
            format!("the node refused the pod: {} ({detail}); start a new workspace", printable(other)),
        ),
    })
}

fn agents_word(ending: &Ending) -> Cause {
    use ws_api::termination::Reason as Agents;
    let reason = match ending.reason {
        Agents::EgressNotEnforced => Reason::EgressNotEnforced,
        Agents::GatewayUnreachable => Reason::GatewayUnreachable,
        Agents::EgressBreach => Reason::EgressBreach,
        Agents::Idle => Reason::Idle,
        Agents::Misconfigured => Reason::Misconfigured,
        Agents::Terminated => Reason::Terminated,
    };
    Cause::new(reason, printable(&ending.message))
}

fn died(main: &ContainerStateTerminated) -> Cause {
    let detail = printable(main.message.as_deref().unwrap_or_default());
    match main.reason.as_deref() {
        Some("OOMKilled") => Cause::new(
            Reason::OutOfMemory,
            "it used more memory than its class allows; ask for a class with a higher limit",
        ),
        Some("StartError" | "ContainerCannotRun") => Cause::new(
            Reason::RunContainerError,
            format!("the container cannot be started ({detail}); check that the image holds the agent"),
        ),
        _ => {
            let code = main.exit_code;
            Cause::new(
                Reason::PodFailed,
                format!("the agent ended with code {code} ({detail}); start a new workspace"),
            )
        }
    }
}

fn not_installed(status: &PodStatus) -> Option<Cause> {
    let mut installers = status.init_container_statuses.iter().flatten();
    let code = installers.find_map(|init| {
        let code = init.state.as_ref()?.terminated.as_ref()?.exit_code;
        (code != 0).then_some(code)
    })?;
    Some(Cause::new(
        Reason::AgentNotInstalled,
        format!("the agent could not be copied into the pod (code {code}); check the operator's agent image"),
    ))
}

#[cfg(test)]
mod tests;
