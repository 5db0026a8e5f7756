//! The contract between the parts of ws: what two processes must agree on is written here and nowhere else.
//!
//! ```text
//!  ws ──Workspace──▶ ws-operator ──Pod, agent settings──▶ ws-agent ──Isolated──▶ ws-gateway
//!   ▲                     │                                  │                      │
//!   └────── status ◀──────┴────── termination message ◀──────┘        status.egress ┘
//! ```
//!
//! With the feature `k8s` it holds the Kubernetes objects as well; without, it links no Kubernetes type.

pub mod agent;
pub mod gateway;
pub mod names;
pub mod reason;
pub mod ssh;
pub mod termination;

#[cfg(feature = "k8s")]
pub mod class;
#[cfg(feature = "k8s")]
mod definitions;
#[cfg(feature = "k8s")]
pub mod egress;
#[cfg(feature = "k8s")]
mod schema;
#[cfg(feature = "k8s")]
pub mod workspace;

#[cfg(feature = "k8s")]
pub use definitions::definitions;

/// API group of all objects of ws.
pub const GROUP: &str = "ws.dev";

/// Who manages an object, by [Kubernetes' recommended label](https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`] on everything the operator makes.
pub const MANAGED_BY: &str = "ws";
/// Class of a workspace's pod. Constant for all pods of a class, so that a network plugin has one identity to program
/// for a class and not one for each session.
pub const CLASS_LABEL: &str = "ws.dev/class";
/// Marks the class that a Workspace without `className` gets, when its value is `"true"`.
pub const DEFAULT_CLASS_ANNOTATION: &str = "ws.dev/is-default-class";

/// Field manager of the operator's server-side applies.
pub const OPERATOR_FIELD_MANAGER: &str = "ws-operator";
/// Field manager of the gateway's part of a Workspace's status.
pub const GATEWAY_FIELD_MANAGER: &str = "ws-gateway";
/// Field manager of the command's writes.
pub const CLI_FIELD_MANAGER: &str = "ws";

/// Container of a workspace's pod.
pub const CONTAINER: &str = "workspace";
/// User id and group id of everything in a workspace.
pub const WORKSPACE_UID: u32 = 10_000;
