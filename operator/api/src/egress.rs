//! What a class lets its workspaces reach: the objects that an admin writes. The gateway decides by them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{KubeSchema, core::Duration};
use schemars::JsonSchema;
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
    /// What a workspace may send in its life, by all rules together that have no budget of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// Bytes that may leave.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.upload) || has(self.request) || has(self.notFound)").message("say `upload`, `request` or `notFound`"))]
pub struct Budget {
    /// In a workspace's life: request lines, headers and bodies, as they are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::quantity)]
    pub upload: Option<Quantity>,
    /// In one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = schema::quantity)]
    pub request: Option<Quantity>,
    /// Requests in a workspace's life that find nothing: answered with a 4xx other than 408, 425 and 429, or broken off before an
    /// answer. They can carry a message to whoever reads the host's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub not_found: Option<i32>,
}

/// Something outside that workspaces may reach.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) ? !has(self.hosts) : has(self.hosts) || has(self.preset)")
    .message("a rule names either a service of the cluster, or hosts, or a preset that has hosts"))]
#[x_kube(validation = Rule::new("!has(self.service) || !(has(self.scheme) || has(self.ports))")
    .message("a service says its port itself"))]
#[x_kube(validation = Rule::new("!has(self.allow) || !has(self.preset)")
    .message("a preset brings its own `allow`"))]
#[x_kube(validation = Rule::new("has(self.allow) || has(self.preset) || has(self.passthrough)")
    .message("say what is allowed: `allow`, a `preset`, or `passthrough`"))]
#[x_kube(validation = Rule::new("!has(self.passthrough) || (has(self.hosts) && !has(self.allow) && !has(self.preset) && !has(self.credential) && !has(self.scheme))")
    .message("what is passed through is not looked into: it has hosts and ports, and neither `allow`, a preset, a credential nor a scheme"))]
#[x_kube(validation = Rule::new("!has(self.passthrough) || (has(self.budget) && has(self.budget.upload))")
    .message("what is passed through has a `budget.upload`"))]
pub struct EgressRule {
    /// Name by which a workspace picks this rule.
    #[schemars(length(min = 1, max = 52), regex(pattern = NAME_PATTERN))]
    pub name: String,
    /// A reviewed list of requests that ships with ws: `ws presets` shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = NAME_PATTERN))]
    pub preset: Option<String>,
    /// Exact host names in lower case: no wildcards, no addresses, no trailing dots, no single labels. Left out: those of the
    /// preset, if it has any.
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
    /// How the gateway speaks to the hosts. Left out: https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Ports of the hosts. Left out: the scheme's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<i32>>", length(min = 1, max = 8), inner(range(min = 1, max = 65535)))]
    pub ports: Option<Vec<u16>>,
    /// Requests that are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub allow: Option<Vec<Requests>>,
    /// What `{repository}` stands for in paths, as those of preset `github`: `OWNER/NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 140), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$"))
    )]
    pub repositories: Vec<String>,
    /// Models that may be asked, with a preset that knows where a request names them: exact names, or what they begin with
    /// (`claude-*`). Left out: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._:/-]*\\*?$"))
    )]
    pub models: Vec<String>,
    /// Which packages may be fetched, with a preset that knows where a request names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
    /// A Service of the cluster instead of hosts outside. Workspaces reach it as `http://NAME.NAMESPACE.svc:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Passes the connection on without looking into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Passthrough>,
    /// What the gateway puts into the requests in place of any credential that the workspace sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// Left out: what the preset says, or a share of the class's budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// Packages of a registry that may be fetched.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) || has(self.fromLockfiles) || has(self.minimumAge)")
    .message("say `names`, `fromLockfiles` or `minimumAge`"))]
pub struct Packages {
    /// Exact names, or what they begin with (`@acme/*`), as the registry spells them. Left out, and `fromLockfiles` too: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        inner(length(min = 1, max = 214), regex(pattern = "^[@A-Za-z0-9][A-Za-z0-9@._+~/!-]*\\*?$"))
    )]
    pub names: Option<Vec<String>>,
    /// Also those that the lockfiles of the workspace's project name, as they were when the workspace was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_lockfiles: Option<Registry>,
    /// How long a version must have been there: a day, and most of those that were taken over are found out. By the registry's
    /// `Last-Modified`; what has none is not passed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^([0-9]{1,9}(h|m|s)){1,3}$"))]
    pub minimum_age: Option<Duration>,
}

/// A kind of registry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Registry {
    Cargo,
    Go,
    Npm,
    Pypi,
}

/// Names of packages, as the paths of their registries hold them.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8192), inner(length(min = 1, max = 214)))]
    pub cargo: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8192), inner(length(min = 1, max = 214)))]
    pub go: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8192), inner(length(min = 1, max = 214)))]
    pub npm: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8192), inner(length(min = 1, max = 214)))]
    pub pypi: Vec<String>,
}

impl Locked {
    /// The most names of one registry.
    pub const MOST: usize = 8_192;
    /// The longest name, in bytes.
    pub const LONGEST: usize = 214;

    pub fn of(&self, registry: Registry) -> &[String] {
        match registry {
            Registry::Cargo => &self.cargo,
            Registry::Go => &self.go,
            Registry::Npm => &self.npm,
            Registry::Pypi => &self.pypi,
        }
    }

    pub fn of_mut(&mut self, registry: Registry) -> &mut Vec<String> {
        match registry {
            Registry::Cargo => &mut self.cargo,
            Registry::Go => &mut self.go,
            Registry::Npm => &mut self.npm,
            Registry::Pypi => &mut self.pypi,
        }
    }

    /// In an order in which [`Locked::has`] finds them.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        for registry in [Registry::Cargo, Registry::Go, Registry::Npm, Registry::Pypi] {
            self.of_mut(registry).sort_unstable();
        }
        self
    }

    /// Whether this is one of the names. They have to be [`Locked::sorted`].
    pub fn has(&self, registry: Registry, name: &str) -> bool {
        self.of(registry).binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }
}

/// How the gateway speaks to a host.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    #[default]
    Https,
}

/// Requests by what they ask for. All that is said has to hold.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.webSocket) || (self.methods == ['GET'] && !has(self.body))")
    .message("a WebSocket is opened with GET and without a body"))]
pub struct Requests {
    #[schemars(length(min = 1, max = 16), inner(length(max = 16), regex(pattern = "^[A-Z]+$")))]
    pub methods: Vec<String>,
    /// Patterns on the canonical path: `{name}` is any text in one segment, `**` as a segment any others.
    #[schemars(length(min = 1, max = 64), inner(length(max = 256), regex(pattern = "^/")))]
    pub paths: Vec<String>,
    /// Names of query parameters that may be there; `*`: any. Left out: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub query: Vec<String>,
    /// Headers that are passed on, beside those that describe the content. Left out: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub headers: Vec<Header>,
    /// What a body has to be. Left out: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// That they open a WebSocket (RFC 6455), on which messages go both ways: the gateway counts and passes on whole messages, without
    /// looking into them. Left out: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_socket: Option<WebSocket>,
    /// That packages are asked for: what [`EgressRule::packages`] holds for. Left out: none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
}

/// A WebSocket that may be opened.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebSocket {
    /// The most bytes that a message may have, at most 16Mi.
    #[schemars(transform = schema::quantity)]
    pub max_message: Quantity,
}

/// What a request asks a registry for.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// The package's name, made of placeholders of all the paths: `@{scope}/{name}`; `{**}` is what `**` stands for. Left out: the
    /// path does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,
    /// Whether names are compared as Python's registries do: case makes no difference, and `-`, `_` and `.` are one.
    #[serde(default)]
    pub normalized: bool,
    /// Whether the answer is a version of the package, which has an age.
    #[serde(default)]
    pub version: bool,
}

/// A header that is passed on.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[a-z0-9-]+$"))]
    pub name: String,
    /// Elements of the header's list that are passed on, the others are left out. Left out: any value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub values: Vec<String>,
}

/// What a request's body has to be.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    /// The most bytes it may have.
    #[schemars(transform = schema::quantity)]
    pub max: Quantity,
    /// What has to hold for it as JSON. Left out: it may be anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
}

/// What has to hold for a JSON document (RFC 8259). Places in it are written `key`, `key.key` and, for each element of an
/// array, `key[].key`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Json {
    /// Places at which there is something.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub required: Vec<String>,
    /// Places at which there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub forbidden: Vec<String>,
    /// Places at which, if there is something, it is one of these texts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub values: Vec<Values>,
}

/// What may be at a place of a JSON document.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Values {
    #[schemars(length(min = 1, max = 128))]
    pub at: String,
    /// Exact texts, or what they begin with (`claude-*`).
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)))]
    pub any_of: Vec<String>,
}

/// A Service of the cluster.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    #[schemars(with = "i32", range(min = 1, max = 65535))]
    pub port: u16,
}

/// A connection that the gateway does not look into: whoever controls the workspace decides what is said on it, and to whom
/// behind the host's name.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Passthrough {
    /// That an admin knows what this means.
    pub acknowledged: Acknowledged,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Acknowledged {
    Uninspected,
}

/// A credential that only the gateway reads.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// A Secret in the namespace of ws.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: String,
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// The header that carries it. Left out: the preset's, or `authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[a-z0-9-]+$"))]
    pub header: Option<String>,
    /// What stands before it in the header. Left out: the preset's, or `Bearer ` in `authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^[!-~ ]*$"))]
    pub prefix: Option<String>,
}
