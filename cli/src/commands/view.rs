//! Workspaces as they are shown, to people and as JSON.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt as _;
use serde::Serialize;
use ws_api::workspace::{EgressStatus, Phase, Timings, Workspace};
use ws_tree::Escaped;

use crate::{denied::why, state::Memory, units};

/// A workspace in `ws ls --json` and `ws up --detach --json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    /// `Pending`, `Starting`, `Ready`, `Destroying` or `Failed`; none before the operator has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Time>,
    /// Requests that were denied.
    pub(super) denied: i64,
}

/// A workspace in `ws describe --json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Description {
    #[serde(flatten)]
    pub(super) summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host_key: Option<String>,
    /// Names of the egress rules in use; none: all of the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rules: Option<Vec<String>>,
    pub(super) conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) egress: Option<EgressStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timings: Option<Timings>,
    /// The project on this machine, if the workspace was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
}

impl Summary {
    pub(super) fn of(workspace: &Workspace) -> Self {
        let status = workspace.status.clone().unwrap_or_default();
        let ending = workspace.metadata.deletion_timestamp.is_some();
        Self {
            name: workspace.name_any(),
            namespace: workspace.namespace().unwrap_or_default(),
            uid: workspace.uid().unwrap_or_default(),
            phase: if ending { Some(Phase::Destroying) } else { status.phase },
            class: status.class_name.or_else(|| workspace.spec.class_name.clone()),
            message: status.message,
            created_at: workspace.metadata.creation_timestamp.clone(),
            expires_at: status.expires_at,
            denied: status.egress.map_or(0, |egress| egress.denied),
        }
    }

    fn phase(&self) -> String {
        self.phase.map_or_else(|| "-".to_owned(), |phase| format!("{phase:?}"))
    }
}

impl Description {
    pub(super) fn of(workspace: &Workspace, memory: Option<&Memory>) -> Self {
        let status = workspace.status.clone().unwrap_or_default();
        let conditions = status.conditions.into_iter().map(|condition| Condition {
            r#type: condition.type_,
            status: condition.status,
            reason: condition.reason,
            message: condition.message,
        });
        Self {
            summary: Summary::of(workspace),
            image: workspace.spec.image.clone(),
            pod: status.pod_name,
            host_key: status.ssh.map(|ssh| ssh.host_key),
            rules: workspace.spec.egress.clone(),
            conditions: conditions.collect(),
            egress: status.egress,
            timings: status.timings,
            project: memory.map(|memory| memory.project.display().to_string()),
        }
    }

    /// As lines of a name and a value.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let Self { summary, image, pod, host_key, rules, conditions, egress, timings, project } = self;
        let mut lines = vec![
            ("Name", summary.name.clone()),
            ("Namespace", summary.namespace.clone()),
            ("Phase", summary.phase()),
        ];
        let mut add = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
        add("Message", summary.message.clone());
        add("Class", summary.class.clone());
        add("Image", image.clone());
        add("Project", project.clone());
        add("Pod", pod.clone());
        add("Age", age(summary.created_at.as_ref(), now));
        add("Expires in", remaining(summary.expires_at.as_ref(), now));
        add("Host key", host_key.clone());
        add(
            "Rules",
            Some(rules.as_ref().map_or_else(|| "all of the class".to_owned(), |rules| listed(rules))),
        );
        for condition in conditions {
            add("Condition", Some(condition.text()));
        }
        add("Timings", timings.as_ref().and_then(|timings| durations(timings, summary.created_at.as_ref())));
        if let Some(egress) = egress {
            add("Requests", Some(format!("{} allowed, {} denied", egress.allowed, egress.denied)));
            add("Sent", Some(units::bytes(u64::try_from(egress.uploaded_bytes).unwrap_or_default())));
            for denied in &egress.last_denied {
                let (host, count, at) = (&denied.host, denied.count, &denied.at.0);
                add("Denied", Some(format!("{host} ({count}×, last {at}){}", why(denied))));
            }
        }
        // What the cluster says must not end a line and begin one of its own.
        let line = |(name, value): &(_, String)| {
            format!("{:<11} {}", format!("{name}:"), Escaped::line(value.as_bytes()))
        };
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Condition {
    fn text(&self) -> String {
        let text = format!("{}={} {}", self.r#type, self.status, self.reason);
        if self.message.is_empty() { text } else { format!("{text}: {}", self.message) }
    }
}

/// Workspaces as a table, with a column for the namespace if they are of several.
pub(super) fn table(workspaces: &[Summary], namespaces: bool, now: Timestamp) -> String {
    let mut rows =
        vec![["NAMESPACE", "NAME", "PHASE", "CLASS", "AGE", "EXPIRES", "DENIED"].map(str::to_owned)];
    rows.extend(workspaces.iter().map(|workspace| row(workspace, now)));
    let skipped = usize::from(!namespaces);
    let widths: Vec<usize> = (0..7)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).skip(skipped).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(workspace: &Summary, now: Timestamp) -> [String; 7] {
    let dash = || "-".to_owned();
    [
        workspace.namespace.clone(),
        workspace.name.clone(),
        workspace.phase(),
        workspace.class.clone().unwrap_or_else(dash),
        age(workspace.created_at.as_ref(), now).unwrap_or_else(dash),
        remaining(workspace.expires_at.as_ref(), now).unwrap_or_else(dash),
        workspace.denied.to_string(),
    ]
}

fn age(since: Option<&Time>, now: Timestamp) -> Option<String> {
    since.map(|since| between(since.0, now))
}

fn remaining(until: Option<&Time>, now: Timestamp) -> Option<String> {
    until.map(|until| if until.0 <= now { "over".to_owned() } else { between(now, until.0) })
}

/// The time from one to the other; none if the clocks of the cluster and this machine disagree about the order.
fn between(from: Timestamp, to: Timestamp) -> String {
    let seconds = u64::try_from(to.duration_since(from).as_secs()).unwrap_or_default();
    if seconds == 0 { "0 s".to_owned() } else { units::span(Duration::from_secs(seconds)) }
}

/// When each step was done, from the creation on. That is only known to the second.
fn durations(timings: &Timings, created: Option<&Time>) -> Option<String> {
    let created = created?.0;
    let Timings { claimed, scheduled, started, isolated, ready } = timings;
    let steps = [
        ("claimed", claimed),
        ("scheduled", scheduled),
        ("started", started),
        ("isolated", isolated),
        ("ready", ready),
    ];
    let done = steps.iter().filter_map(|(name, at)| {
        let millis = at.as_ref()?.0.duration_since(created).as_millis();
        Some(format!("{name} +{millis} ms"))
    });
    let done: Vec<_> = done.collect();
    (!done.is_empty()).then(|| done.join(", "))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
            "metadata": {"name": "fix", "namespace": "team", "uid": "u", "creationTimestamp": "2026-11-20T10:00:00Z"},
            "spec": {"sshPublicKeys": [], "egress": ["crates"]},
            "status": {
                "phase": "Ready", "className": "default", "podName": "fix", "expiresAt": "2026-11-20T14:00:00Z",
                "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
                    "lastTransitionTime": "2026-11-20T10:00:01Z"}],
                "egress": {"allowed": 1, "denied": 3, "uploadedBytes": 2048,
                    "lastDenied": [{"host": "telemetry.example", "count": 3, "at": "2026-11-20T10:30:00Z", "reason": "host-not-allowed"}]},
                "timings": {"claimed": "2026-11-20T10:00:00.040000Z", "ready": "2026-11-20T10:00:00.512000Z"}
            }
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-20T11:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_description_says_all_that_is_known() {
        insta::assert_snapshot!(Description::of(&workspace(), None).text(now()));
    }

    #[test]
    fn what_the_cluster_says_makes_no_line_of_its_own() {
        let mut hostile = workspace();
        hostile.status.as_mut().unwrap().pod_name = Some("fix\nPhase:      Ready".to_owned());
        let text = Description::of(&hostile, None).text(now());
        assert!(text.contains("\nPod:        fix\\x0aPhase:      Ready\n"), "{text}");
    }

    #[test]
    fn a_description_is_stable_json() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&Description::of(&workspace(), None)).unwrap());
    }

    #[test]
    fn a_list_is_aligned() {
        let mut fresh = workspace();
        fresh.status = None;
        fresh.metadata.name = Some("a-longer-name".to_owned());
        let list = [Summary::of(&workspace()), Summary::of(&fresh)];
        insta::assert_snapshot!(format!("{}\n{}", table(&list, false, now()), table(&list, true, now())));
    }
}
