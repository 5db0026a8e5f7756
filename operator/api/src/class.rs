//! `WorkspaceClass`: what an admin allows, cluster-scoped like a StorageClass.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ResourceRequirements, Toleration},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{egress::Egress, schema};

/// What workspaces of a class may be.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "ws.dev",
    version = "v1alpha1",
    kind = "WorkspaceClass",
    doc = "What an admin allows the workspaces that name it.",
    plural = "workspaceclasses",
    shortname = "wsc",
    category = "ws",
    derive = "PartialEq",
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "Runtime", type_ = "string", json_path = ".spec.runtimeClassName"),
    printcolumn(name = "Lifetime", type_ = "string", json_path = ".spec.lifetime.default"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')")
        .message("the name of a class is at most 52 of a-z, 0-9 and `-`, and starts with a letter"),
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceClassSpec {
    /// Image of a workspace that names none.
    #[schemars(length(min = 1, max = 512), regex(pattern = "^[^\\s]+$"))]
    pub image: String,
    /// What else a workspace may name: images, or all below a path (`ghcr.io/acme/*`), all tags (`ghcr.io/acme/app:*`) or all
    /// digests (`ghcr.io/acme/app@*`). Left out: only `image`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 2, max = 512), regex(pattern = "^[^\\s*]+([/:@]\\*)?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_images: Vec<String>,
    /// [RuntimeClass](https://kubernetes.io/docs/concepts/containers/runtime-class/) of the pods, as gVisor's or Kata's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub runtime_class_name: Option<String>,
    #[serde(default)]
    #[schemars(extend("default" = {"default": "4h", "max": "24h", "idle": "30m"}))]
    pub lifetime: Lifetime,
    /// Requests and limits of the pod. Limits of cpu, memory and ephemeral-storage that are left out are what is requested, or
    /// the default.
    #[serde(default = "default_resources")]
    #[schemars(transform = schema::resources)]
    #[x_kube(validation = Rule::new("!has(self.claims)").message("workspaces have no resource claims"))]
    #[x_kube(validation = Rule::new(
        "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || \
         !quantity(string(self.requests[name])).isGreaterThan(quantity(string(self.limits[name]))))"
    ).message("more is requested than the limit"))]
    pub resources: ResourceRequirements,
    #[serde(default)]
    pub scheduling: Scheduling,
    #[serde(default)]
    pub egress: Egress,
}

/// How long workspaces live.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.default) <= duration(self.max)")
    .message("the default lifetime is longer than the longest"))]
#[x_kube(validation = Rule::new("duration(self.default) >= duration('1m')").message("the default lifetime is less than 1m"))]
#[x_kube(validation = Rule::new("duration(self.idle) >= duration('5s')").message("an idle time is at least 5s"))]
pub struct Lifetime {
    /// Of a workspace that does not say.
    #[serde(default = "default_lifetime")]
    #[schemars(length(max = 32), regex(pattern = "^([0-9]{1,9}(h|m|s)){1,3}$"), extend("default" = "4h"))]
    pub default: Duration,
    /// The most that a workspace may ask for.
    #[serde(default = "max_lifetime")]
    #[schemars(length(max = 32), regex(pattern = "^([0-9]{1,9}(h|m|s)){1,3}$"), extend("default" = "24h"))]
    pub max: Duration,
    /// Ends a workspace to which nobody is connected and in which nothing runs.
    #[serde(default = "idle_lifetime")]
    #[schemars(length(max = 32), regex(pattern = "^([0-9]{1,9}(h|m|s)){1,3}$"), extend("default" = "30m"))]
    pub idle: Duration,
}

impl Default for Lifetime {
    fn default() -> Self {
        Self { default: default_lifetime(), max: max_lifetime(), idle: idle_lifetime() }
    }
}

fn default_lifetime() -> Duration {
    std::time::Duration::from_hours(4).into()
}

fn max_lifetime() -> Duration {
    std::time::Duration::from_hours(24).into()
}

fn idle_lifetime() -> Duration {
    std::time::Duration::from_mins(30).into()
}

/// On which nodes pods may run, as in a pod's spec.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduling {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), transform = schema::tolerations)]
    pub tolerations: Vec<Toleration>,
}

/// The limits of what a pod can exhaust, where a class sets none.
pub fn default_limits() -> BTreeMap<String, Quantity> {
    quantities(&[("cpu", "4"), ("memory", "8Gi"), ("ephemeral-storage", "20Gi")])
}

fn default_resources() -> ResourceRequirements {
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "500m"), ("memory", "1Gi")])),
        limits: Some(default_limits()),
        claims: None,
    }
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned()))).collect()
}
