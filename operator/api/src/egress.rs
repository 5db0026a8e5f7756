//! What a class lets its workspaces reach: the objects that an admin writes. The gateway decides by them.

use k8s_openapi::{api::core::v1::SecretKeySelector, apimachinery::pkg::api::resource::Quantity};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{names::NAME_PATTERN, schema};

/// The most that a workspace of the class may reach. Without rules it reaches nothing.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Rules, by name. A workspace picks from them and cannot add to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<EgressRule>,
    /// Bytes that a workspace may send in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// Bytes that may leave.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Bytes sent, headers included.
    #[schemars(transform = schema::quantity)]
    pub upload: Quantity,
}

/// Something outside that workspaces may reach.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) != (has(self.hosts) || has(self.preset))")
    .message("a rule names either a service of the cluster, or hosts, a preset or both"))]
#[x_kube(validation = Rule::new("!has(self.allow) || has(self.hosts)")
    .message("`allow` needs `hosts`: a preset brings its own"))]
pub struct EgressRule {
    /// Name by which a workspace picks this rule.
    #[schemars(length(min = 1, max = 52), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// A reviewed list of requests that ships with ws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = NAME_PATTERN))]
    pub preset: Option<String>,
    /// Exact host names in lower case: no wildcards, no addresses, no trailing dots, no single labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        inner(
            length(max = 253),
            regex(pattern = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub hosts: Option<Vec<String>>,
    /// Ports of the hosts. Left out: 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(range(min = 1, max = 65535)))]
    pub ports: Option<Vec<i32>>,
    /// Requests that are allowed. Left out: those of the preset, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub allow: Option<Vec<Requests>>,
    /// A Service of the cluster instead of hosts outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// What the gateway puts into the requests in place of any credential that the workspace sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("has(self.name) && size(self.name) > 0").message("name the Secret"))]
    #[x_kube(validation = Rule::new("size(self.key) > 0").message("name the key in the Secret"))]
    pub credential: Option<SecretKeySelector>,
}

/// Requests by method and path.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    #[schemars(length(min = 1, max = 16), inner(regex(pattern = "^[A-Z]{1,16}$")))]
    pub methods: Vec<String>,
    /// Patterns on the canonical path: `{name}` is one segment, `/**` at the end is any rest.
    #[schemars(length(min = 1, max = 64), inner(length(max = 256), regex(pattern = "^/")))]
    pub paths: Vec<String>,
}

/// A Service of the cluster.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}
