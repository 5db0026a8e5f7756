//! Where the gateway listens, and what an agent tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Name of the gateway's Service, and value of its pods' `app.kubernetes.io/name` label.
pub const NAME: &str = "ws-gateway";
/// The port that a workspace's network policy allows: an HTTP proxy (RFC 9110 §7.6, CONNECT: §9.3.6).
pub const PROXY_PORT: u16 = 3128;
/// The port on the same pods that no workspace's network policy allows. Whoever reaches it is not isolated.
pub const CANARY_PORT: u16 = 3129;

/// Connections that the proxy port takes of one pod at once; one more ends unanswered.
pub const MAX_CONNECTIONS: usize = 64;
/// How many of them the pod's agent keeps for itself, so that the workspace's programs cannot take them all.
pub const AGENT_CONNECTIONS: usize = 8;

/// What a connection to the proxy port begins with if it is by a workspace's agent: this byte, with which neither HTTP nor TLS
/// begins, and 64 bytes by which the gateway knows the agent. HTTP follows. Programs of the workspace cannot know those bytes: they
/// go through their agent.
pub const TOKEN_MARK: u8 = 1;

/// Path on the proxy port, in origin form, to which an agent posts an [`Isolated`] as JSON.
pub const ISOLATED_PATH: &str = "/v1/isolated";

/// Path on the proxy port, in origin form, at which an agent gets its [`WayOut`] as JSON.
pub const WAY_OUT_PATH: &str = "/v1/way-out";

/// The gateway's own name, at port [`OWN_PORT`] behind the proxy port, for whoever must know that it is the gateway that answers: its
/// certificate is by the authority in the Workspace's status, whose key nobody else has.
pub const OWN_HOST: &str = "gateway.ws.internal";
pub const OWN_PORT: u16 = 443;

/// Path at [`OWN_HOST`] with the decisions on the workspace that asks, as a [`Decided`] a line; with `?follow` it does not end.
pub const DECISIONS_PATH: &str = "/v1/decisions";

/// A line of the audit log, and of [`DECISIONS_PATH`]: one decision, or several of which nothing more is kept.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Decided {
    /// When it was over (RFC 3339).
    pub ts: String,
    /// Number of the decision among the workspace's, in one process of the gateway.
    pub seq: u64,
    /// `allowed` or `denied`.
    pub decision: String,
    /// How many decisions the line stands for.
    pub count: u64,
    /// Why it was denied, or did not come to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule that allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    pub method: String,
    /// Hostile: what the workspace asked for.
    pub host: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The rule's pattern that the path fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether the gateway put a credential in.
    pub credential: bool,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub milliseconds: u64,
}

/// What programs of a workspace need to find their way out. It is no secret, and no permission: each request is decided on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WayOut {
    /// The authority that vouches for the hosts outside, as PEM.
    pub certificate: String,
    /// Where a program may ask to go.
    pub destinations: Vec<Destination>,
    /// Variables that stand where credentials would be, so that programs start: the gateway puts the credentials in.
    pub environment: BTreeMap<String, String>,
}

/// A host that rules name, and its ports.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub host: String,
    pub ports: Vec<u16>,
}

/// An agent's statement that its pod is isolated. It is made before any code of a user runs in the pod, and sent until the
/// gateway has taken it, which may be later: the first that a gateway takes counts, and code in the pod can send one too, through the
/// agent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Isolated {
    /// Attempts to reach what must not be reached, all of them refused or lost.
    pub attempts: u32,
    /// Milliseconds from the agent's start to this statement.
    pub after_ms: u64,
}
