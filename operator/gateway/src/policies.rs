//! What each workspace may reach, as the classes and workspaces of the cluster say it. Pure: the watches feed it.
//!
//! A class that cannot be used denies everything: there is no falling back to what it said before.

use std::{collections::HashMap, sync::Arc};

use kube::{ResourceExt as _, api::DynamicObject};
use russh::keys::PublicKey;
use serde_json::Value;
use ws_api::{class::WorkspaceClass, egress::Locked, workspace::Workspace};
use ws_policy::class::{ClassPolicy, Policy};

/// The policies of all workspaces.
#[derive(Debug, Default)]
pub struct Policies {
    classes: HashMap<String, ObservedClass>,
    /// By UID.
    workspaces: HashMap<String, Member>,
    /// Nobody knows whether they still hold.
    are_stale: bool,
}

/// A class's policy, or what is wrong with it.
type Compiled = Result<Arc<ClassPolicy>, Arc<str>>;

#[derive(Debug)]
struct Member {
    choice: Choice,
    /// The operator says it when it has made the pod.
    host_key: Option<PublicKey>,
    policy: Result<Policy, NoPolicy>,
}

/// What a workspace says of its policy.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Choice {
    class: String,
    /// Names of rules; none: all.
    rules: Option<Vec<String>>,
    /// Packages that its lockfiles name.
    locked: Arc<Locked>,
}

/// Why nothing is known by which a workspace's requests could be judged. They are denied.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoPolicy {
    #[error("this workspace is not known yet, or no longer")]
    Unknown,
    #[error("the gateway has not reached the API server for minutes, so it cannot tell what is allowed")]
    Stale,
    #[error("class \"{0}\" does not exist")]
    NoClass(String),
    #[error("class \"{class}\" is invalid, so nothing is allowed: {problem}")]
    Invalid { class: String, problem: Arc<str> },
}

/// A class as it was watched.
#[derive(Debug)]
pub struct ObservedClass {
    name: String,
    /// As it is in the cluster, by which one is told from another.
    written: Value,
    policy: Compiled,
}

/// A workspace as it was watched.
#[derive(Debug)]
pub struct ObservedWorkspace {
    uid: String,
    choice: Choice,
    host_key: Option<PublicKey>,
}

impl ObservedClass {
    pub fn of(object: &DynamicObject) -> Self {
        let policy = compiled(object).map(Arc::new).map_err(Into::into);
        Self { name: object.name_any(), written: object.data.clone(), policy }
    }
}

impl ObservedWorkspace {
    /// `None` for one that has no class yet, or that no version of ws wrote.
    pub fn of(object: &DynamicObject) -> Option<Self> {
        let workspace: Workspace = object.clone().try_parse().ok()?;
        let uid = workspace.uid()?;
        // The operator's word: the spec names none where the default class holds.
        let status = workspace.status?;
        let class = status.class_name?;
        let host_key = status.ssh.and_then(|ssh| ssh.host_key.parse().ok());
        let locked = Arc::new(workspace.spec.packages.unwrap_or_default().sorted());
        Some(Self { uid, choice: Choice { class, rules: workspace.spec.egress, locked }, host_key })
    }
}

fn compiled(object: &DynamicObject) -> Result<ClassPolicy, String> {
    let class: WorkspaceClass = object.clone().try_parse().map_err(|error| error.to_string())?;
    let name = class.name_any().parse().map_err(|_| "its name is not a valid name of a class".to_owned())?;
    ClassPolicy::compile(name, &class.spec.egress)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

impl Policies {
    /// What the workspace with this UID may reach.
    pub fn of(&self, workspace_uid: &str) -> Result<Policy, NoPolicy> {
        if self.are_stale {
            return Err(NoPolicy::Stale);
        }
        self.workspaces.get(workspace_uid).map_or(Err(NoPolicy::Unknown), |member| member.policy.clone())
    }

    /// By what the agent of the workspace with this UID is known.
    pub fn host_key(&self, workspace_uid: &str) -> Option<&PublicKey> {
        self.workspaces.get(workspace_uid)?.host_key.as_ref()
    }

    /// Says whether they still hold; whether that is news.
    pub fn set_stale(&mut self, are_stale: bool) -> bool {
        std::mem::replace(&mut self.are_stale, are_stale) != are_stale
    }

    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    pub fn workspaces(&self) -> usize {
        self.workspaces.len()
    }

    /// Whether it says something new.
    pub fn insert_class(&mut self, class: ObservedClass) -> bool {
        let name = class.name.clone();
        if self.classes.get(&name).is_some_and(|known| known.written == class.written) {
            return false;
        }
        self.classes.insert(name.clone(), class);
        self.judge_anew(&name);
        true
    }

    /// Whether there was one.
    pub fn remove_class(&mut self, name: &str) -> bool {
        let was_there = self.classes.remove(name).is_some();
        self.judge_anew(name);
        was_there
    }

    pub fn replace_classes(&mut self, all: Vec<ObservedClass>) {
        self.classes = all.into_iter().map(|class| (class.name.clone(), class)).collect();
        for member in self.workspaces.values_mut() {
            member.policy = judge(&self.classes, &member.choice);
        }
    }

    /// Whether it says something new: each write of its status brings a workspace once more, mostly as it was.
    pub fn insert_workspace(&mut self, workspace: ObservedWorkspace) -> bool {
        let ObservedWorkspace { uid, choice, host_key } = workspace;
        match self.workspaces.get_mut(&uid) {
            Some(known) if known.choice == choice => {
                let is_new = known.host_key != host_key;
                known.host_key = host_key;
                is_new
            }
            _ => {
                let policy = judge(&self.classes, &choice);
                self.workspaces.insert(uid, Member { choice, host_key, policy });
                true
            }
        }
    }

    /// Whether there was one.
    pub fn remove_workspace(&mut self, uid: &str) -> bool {
        self.workspaces.remove(uid).is_some()
    }

    pub fn replace_workspaces(&mut self, all: Vec<ObservedWorkspace>) {
        self.workspaces.clear();
        for workspace in all {
            self.insert_workspace(workspace);
        }
    }

    fn judge_anew(&mut self, class: &str) {
        for member in self.workspaces.values_mut().filter(|member| member.choice.class == class) {
            member.policy = judge(&self.classes, &member.choice);
        }
    }
}

fn judge(classes: &HashMap<String, ObservedClass>, choice: &Choice) -> Result<Policy, NoPolicy> {
    match classes.get(&choice.class).map(|class| &class.policy) {
        Some(Ok(class)) => {
            Ok(Policy::of(class.clone(), choice.rules.as_deref()).with_locked(choice.locked.clone()))
        }
        Some(Err(problem)) => {
            Err(NoPolicy::Invalid { class: choice.class.clone(), problem: problem.clone() })
        }
        None => Err(NoPolicy::NoClass(choice.class.clone())),
    }
}

#[cfg(test)]
mod tests;
