//! What a class allows, compiled once, and what a workspace picks from it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, Method};
use ws_api::{
    egress::{Egress, Locked, Registry, Scheme},
    names::ClassName,
};

use crate::{
    json::JsonRule,
    package::{
        PackageName,
        form::{Asked, plain},
        is_one_of, normalized,
    },
    path::Path,
    pattern::PathPattern,
};

mod compile;
mod quantity;

pub use compile::{MAX_INSPECTED, Problem};

/// Rules of a class, at most: a workspace's choice among them is one word.
const MAX_RULES: usize = 64;

/// A class's rules, compiled. All workspaces of the class share it.
#[derive(Debug)]
pub struct ClassPolicy {
    pub(crate) class: ClassName,
    pub(crate) rules: Vec<Arc<Rule>>,
    /// The rules that name a host.
    pub(crate) by_host: HashMap<String, Picked>,
    pub(crate) upload: Option<u64>,
}

/// Some of a class's rules.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Picked(u64);

/// A rule, compiled.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    /// Preset and version, if it is one.
    pub preset: Option<(String, u32)>,
    pub(crate) hosts: Vec<String>,
    pub scheme: Scheme,
    pub(crate) ports: Vec<u16>,
    /// Whether the hosts are a Service of the cluster.
    pub is_service: bool,
    pub(crate) access: Access,
    pub credential: Option<Credential>,
    /// What stands in a workspace's environment where the credential would be.
    pub environment: BTreeMap<String, String>,
    pub upload: Option<u64>,
    pub request: Option<u64>,
    /// Answers in a workspace's life that may say there is no such thing.
    pub not_found: Option<u64>,
}

impl Rule {
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    pub fn ports(&self) -> &[u16] {
        &self.ports
    }
}

/// What a rule lets through.
#[derive(Debug)]
pub(crate) enum Access {
    Requests(Vec<Arc<Allowance>>),
    /// Whole connections.
    Uninspected,
}

/// A conjunction: requests that are alike.
#[derive(Debug)]
pub struct Allowance {
    pub(crate) methods: Vec<Method>,
    pub(crate) paths: Vec<PathPattern>,
    pub(crate) query: QueryRule,
    pub headers: Vec<HeaderRule>,
    pub body: Option<BodyRule>,
    pub(crate) package: Option<PackageRule>,
    /// The most bytes of a message, if it opens a WebSocket.
    pub web_socket: Option<u64>,
}

/// What packages may be fetched.
#[derive(Debug)]
pub(crate) struct PackageRule {
    /// How a package's name is read out of a path; none: those paths tell no name.
    pub asked: Option<PackageName>,
    /// Those that it may be; none: any.
    pub names: Option<PackageNames>,
    /// Whether names are compared as Python's registries do.
    pub is_normalized: bool,
    /// How long a version must have been there, if the answer is one.
    pub minimum_age: Option<Duration>,
}

/// Names that a package may have.
#[derive(Debug)]
pub(crate) struct PackageNames {
    /// Names, and what they begin with.
    pub written: Arc<[String]>,
    /// Where the lockfiles' names are of use too.
    pub locked: Option<Registry>,
}

/// What a path asks for that is not fetched.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Stranger {
    /// A package that the rule does not name.
    Package(String),
    /// Something beside the package's name that no registry has there. Of a path that tells no name, that is empty.
    Path { package: String, placeholder: String },
}

/// Parameters that a query may have.
#[derive(Debug)]
pub(crate) enum QueryRule {
    Any,
    /// Names, with the one value that they may have.
    Only(Vec<(String, Option<String>)>),
}

/// A header that is passed on.
#[derive(Debug)]
pub struct HeaderRule {
    pub name: HeaderName,
    /// Empty: any.
    pub values: Vec<String>,
}

#[derive(Debug, Eq, PartialEq)]
pub struct BodyRule {
    /// Bytes.
    pub max: u64,
    pub(crate) json: Option<JsonRule>,
}

/// A credential, and how it is put into a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential {
    pub secret_name: String,
    pub key: String,
    pub header: HeaderName,
    /// What stands before it in the header.
    pub prefix: String,
}

/// What a workspace's requests are judged by.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) class: Arc<ClassPolicy>,
    pub(crate) picked: Picked,
    /// What the workspace's lockfiles name.
    pub(crate) locked: Arc<Locked>,
}

impl Allowance {
    /// The pattern that a path fits.
    pub(crate) fn pattern(&self, path: &Path) -> Option<&PathPattern> {
        self.paths.iter().find(|pattern| pattern.matches(path))
    }
}

impl PackageRule {
    /// What a path asks for, if it is none of the packages that may be fetched, or if more stands beside its name than a registry
    /// needs: that may as well be another thing than a package, as `/-/whoami` is.
    pub fn stranger(&self, pattern: &PathPattern, path: &Path, locked: &Locked) -> Option<Stranger> {
        let captured = pattern.captured(path).unwrap_or_default();
        let made = self.asked.as_ref();
        // What cannot be read is none of them.
        let read = made.map(|name| name.read(&captured).unwrap_or_default());
        let name = read.as_deref().map(plain).unwrap_or_default();
        let compared = if self.is_normalized { normalized(&name).into() } else { Cow::Borrowed(&*name) };
        let is_named = self.names.as_ref().is_none_or(|names| names.have(&compared, locked));
        if made.is_some() && !is_named {
            return Some(Stranger::Package(compared.into_owned()));
        }
        let asked = Asked { captured: &captured, made, name: &name, is_normalized: self.is_normalized };
        let placeholder = asked.misfit()?.to_owned();
        Some(Stranger::Path { package: name.into_owned(), placeholder })
    }
}

impl PackageNames {
    fn have(&self, name: &str, locked: &Locked) -> bool {
        is_one_of(&self.written, name) || self.locked.is_some_and(|registry| locked.has(registry, name))
    }
}

impl BodyRule {
    /// Whether it is looked into, as JSON.
    pub fn is_json(&self) -> bool {
        self.json.is_some()
    }
}

impl ClassPolicy {
    /// Compiles what a class says.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub fn compile(class: ClassName, egress: &Egress) -> Result<Self, Vec<Problem>> {
        compile::class(class, egress)
    }

    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(AsRef::as_ref)
    }

    /// Bytes that a workspace may send in its life by the rules that have no budget of their own.
    pub fn upload(&self) -> Option<u64> {
        self.upload
    }
}

impl Policy {
    /// All rules of a class, or those of these names. A name that the class does not have adds nothing.
    pub fn of(class: Arc<ClassPolicy>, picks: Option<&[String]>) -> Self {
        let is_picked = |rule: &Rule| picks.is_none_or(|picks| picks.contains(&rule.name));
        let picked = Picked::of(
            class.rules.iter().enumerate().filter(|(_, rule)| is_picked(rule)).map(|(index, _)| index),
        );
        Self { class, picked, locked: Arc::default() }
    }

    /// The same, with what the workspace's lockfiles name, [`Locked::sorted`].
    #[must_use]
    pub fn with_locked(self, locked: Arc<Locked>) -> Self {
        Self { locked, ..self }
    }

    /// The rules that hold for this workspace.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.picked.indexes().filter_map(|index| self.class.rules.get(index)).map(AsRef::as_ref)
    }
}

impl Picked {
    pub fn of(indexes: impl Iterator<Item = usize>) -> Self {
        Self(indexes.filter(|index| *index < MAX_RULES).fold(0, |picked, index| picked | 1 << index))
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn indexes(self) -> impl Iterator<Item = usize> {
        (0..MAX_RULES).filter(move |index| self.0 & 1 << index != 0)
    }
}
