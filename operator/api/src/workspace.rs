//! `Workspace`: one session.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{egress::Locked, names::NAME_PATTERN};

/// One session: what its user asks for, within what its class allows.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "ws.dev",
    version = "v1alpha1",
    kind = "Workspace",
    doc = "One session in a pod that reaches only what its class allows, and that ends when the session does.",
    namespaced,
    shortname = "wsp",
    category = "ws",
    status = "WorkspaceStatus",
    derive = "PartialEq",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Class", type_ = "string", json_path = ".status.className"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Denied", type_ = "integer", json_path = ".status.egress.denied"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')")
        .message("the name of a workspace is at most 52 of a-z, 0-9 and `-`, and starts with a letter"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a workspace cannot be changed; create a new one"))]
pub struct WorkspaceSpec {
    /// Class. Left out: the one annotated as default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = NAME_PATTERN))]
    pub class_name: Option<String>,
    /// Image, which the class must allow. Left out: the class's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^\\s]+$"))]
    pub image: Option<String>,
    /// Ed25519 keys that get a certificate, each a line of OpenSSH's `authorized_keys` format without options.
    #[schemars(
        length(min = 1, max = 4),
        inner(length(max = 512), regex(pattern = "^ssh-ed25519 [A-Za-z0-9+/=]+( [^\\n]*)?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ssh_public_keys: Vec<String>,
    /// Names of the class's egress rules to use. Left out: all of them. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 52), regex(pattern = NAME_PATTERN))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub egress: Option<Vec<String>>,
    /// Packages that the project's lockfiles name, for rules that allow those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Locked>,
    /// Time from its creation to its end. Left out: the class's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^([0-9]{1,9}(h|m|s)){1,3}$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("a lifetime is at least 1m"))]
    pub lifetime: Option<Duration>,
}

/// What was observed of a session.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why it is in this phase, and what to do about it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The class in force, also if the workspace named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// UID of the pod. A workspace has one pod in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// Where a workspace is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    /// There is no pod yet.
    Pending,
    /// The pod starts and proves its isolation.
    Starting,
    /// It takes sessions.
    Ready,
    /// It is being deleted.
    Destroying,
    /// It ended or never started; the message and the conditions say why. There is no way back.
    Failed,
}

/// How to log in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ssh {
    /// The host's public key, to be accepted exactly.
    pub host_key: String,
    /// A user certificate for each of the spec's keys, in their order.
    pub certificates: Vec<String>,
}

/// Hosts in [`EgressStatus::last_denied`].
pub const MAX_LAST_DENIED: usize = 16;

/// What the gateway decided, counted since the workspace began.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressStatus {
    pub allowed: i64,
    pub denied: i64,
    pub uploaded_bytes: i64,
    /// The authority by which the gateway vouches for hosts outside and for itself, as PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Bytes that the gateways set aside of the class's budget. What of them was not sent may still be.
    pub reserved_bytes: i64,
    /// The same, and what was sent, for each rule that was used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleEgress>,
    /// The hosts that were denied last, the latest first, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_denied: Vec<DeniedHost>,
}

/// What went out by one rule.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleEgress {
    pub name: String,
    pub allowed: i64,
    pub sent_bytes: i64,
    /// Of the rule's own budget.
    pub reserved_bytes: i64,
    /// Requests that found nothing: answered with a 4xx other than 408, 425 and 429, or broken off before an answer.
    pub not_found: i64,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeniedHost {
    /// As the workspace wrote it: hostile, cut to 253 characters.
    pub host: String,
    pub count: i64,
    pub at: Time,
    /// The gateway's name for why the last request there was denied, as in the audit log: `host-not-allowed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// When each step was done.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timings {
    /// The operator had applied the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed: Option<MicroTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<MicroTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<MicroTime>,
    /// The agent had proven that the policy is enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated: Option<MicroTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<MicroTime>,
}

/// Types of a Workspace's conditions.
pub mod condition {
    /// The pod's container runs. Written by the operator.
    pub const POD_RUNNING: &str = "PodRunning";
    /// The agent proved the isolation. Written by the gateway, to which the agent says so.
    pub const EGRESS_ENFORCED: &str = "EgressEnforced";
    /// The workspace takes sessions. Written by the operator.
    pub const READY: &str = "Ready";
}

impl Workspace {
    /// Name of the Secret with the host key of the workspace with this name and UID.
    ///
    /// With the UID in it, the Secret of a former workspace of the same name, still about to go, is never taken for this one's.
    pub fn host_key_secret(name: &str, uid: &str) -> String {
        format!("{name}-host-key-{uid}")
    }
}
