//! A Workspace as stored and its class → [`Validated`]: checked once, then trusted by the builders.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp,
};
use kube::{Resource as _, ResourceExt as _};
use russh::keys::{Algorithm, PublicKey};
use ws_api::{
    DEFAULT_CLASS_ANNOTATION,
    class::{Scheduling, WorkspaceClass},
    names::{ClassName, WorkspaceName},
    workspace::Workspace,
};
use ws_policy::class::ClassPolicy;

use crate::{
    reason::{Cause, Reason},
    text::{hours, printable},
};

pub mod image;

use image::Reference;

/// A workspace that may be made, with nothing left to look up in its class.
#[derive(Clone, Debug)]
pub struct Validated {
    pub name: WorkspaceName,
    pub namespace: String,
    pub uid: String,
    /// For everything that is to vanish with the workspace.
    pub owner: OwnerReference,
    pub class: ClassName,
    pub image: Reference,
    pub runtime_class: Option<String>,
    pub resources: ResourceRequirements,
    pub scheduling: Scheduling,
    pub expires_at: Timestamp,
    pub idle: Duration,
    /// At least one, all Ed25519.
    pub keys: Vec<PublicKey>,
}

/// Why a workspace cannot be made. Its text says what is wrong, then what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    #[error("{0}; create the workspace under another name")]
    Name(String),
    #[error("class `{0}` does not exist; `kubectl get workspaceclasses` lists those that do")]
    ClassNotFound(String),
    #[error(
        "no class is the default; set `className`, or let an admin annotate one class with {DEFAULT_CLASS_ANNOTATION}=true"
    )]
    NoDefaultClass,
    #[error("{} are all the default class; set `className`, or let an admin keep the annotation on one", .0.join(", "))]
    ManyDefaultClasses(Vec<String>),
    #[error("`{0}` is no image reference; name one as in `ghcr.io/acme/app:1`")]
    Image(String),
    #[error("class `{class}` does not allow image `{image}`; its images are: {}", .allowed.join(", "))]
    ImageNotAllowed { class: String, image: String, allowed: Vec<String> },
    #[error("class `{class}` has no egress rule `{rule}`; its rules are: {}", .rules.join(", "))]
    UnknownEgressRule { class: String, rule: String, rules: Vec<String> },
    #[error(
        "the egress of class `{class}` cannot be used: {problems}; let an admin correct it, `ws policy explain {class}` checks it"
    )]
    Egress { class: String, problems: String },
    #[error("a lifetime of {} is longer than the {} that class `{class}` allows; ask for less", hours(*.asked), hours(*.max))]
    LifetimeTooLong { class: String, asked: Duration, max: Duration },
    #[error(
        "SSH key number {0} is no Ed25519 key in OpenSSH's format; make one with `ssh-keygen -t ed25519`"
    )]
    Key(usize),
}

impl From<Invalid> for Cause {
    fn from(invalid: Invalid) -> Self {
        let reason = match invalid {
            Invalid::Name(_) => Reason::InvalidName,
            Invalid::ClassNotFound(_) => Reason::ClassNotFound,
            Invalid::NoDefaultClass | Invalid::ManyDefaultClasses(_) => Reason::NoDefaultClass,
            Invalid::Image(_) => Reason::InvalidImage,
            Invalid::ImageNotAllowed { .. } => Reason::ImageNotAllowed,
            Invalid::UnknownEgressRule { .. } => Reason::UnknownEgressRule,
            Invalid::Egress { .. } => Reason::InvalidEgress,
            Invalid::LifetimeTooLong { .. } => Reason::LifetimeTooLong,
            Invalid::Key(_) => Reason::InvalidKey,
        };
        Self::new(reason, invalid.to_string())
    }
}

/// The class of a workspace among all `classes`.
pub fn class_of(
    workspace: &Workspace,
    classes: &[Arc<WorkspaceClass>],
) -> Result<Arc<WorkspaceClass>, Invalid> {
    if let Some(name) = &workspace.spec.class_name {
        let found = classes.iter().find(|class| class.name_any() == *name);
        return found.cloned().ok_or_else(|| Invalid::ClassNotFound(printable(name)));
    }
    let is_default = |class: &&Arc<WorkspaceClass>| {
        class.annotations().get(DEFAULT_CLASS_ANNOTATION).is_some_and(|value| value == "true")
    };
    let defaults: Vec<_> = classes.iter().filter(is_default).collect();
    match defaults.as_slice() {
        [] => Err(Invalid::NoDefaultClass),
        [class] => Ok(Arc::clone(class)),
        // Which of two policies was meant is not ours to guess.
        many => {
            let mut names: Vec<_> = many.iter().map(|class| format!("`{}`", class.name_any())).collect();
            names.sort();
            Err(Invalid::ManyDefaultClasses(names))
        }
    }
}

/// Checks everything that the schema cannot.
pub fn validate(workspace: &Workspace, class: &WorkspaceClass) -> Result<Validated, Invalid> {
    let spec = &workspace.spec;
    let name = workspace.name_any();
    let class_name = class.name_any();
    check_egress(workspace, class)?;
    let invalid_name = |error: ws_api::names::InvalidName| Invalid::Name(error.to_string());
    let class_id: ClassName = class_name.parse().map_err(invalid_name)?;
    // The gateway would deny everything by it: whoever makes a workspace learns why before.
    ClassPolicy::compile(class_id.clone(), &class.spec.egress).map_err(|problems| Invalid::Egress {
        class: class_name.clone(),
        problems: printable(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    })?;
    Ok(Validated {
        name: name.parse().map_err(invalid_name)?,
        namespace: workspace.namespace().unwrap_or_default(),
        uid: workspace.uid().unwrap_or_default(),
        owner: owner(workspace),
        class: class_id,
        image: image(spec.image.as_deref(), class)?,
        runtime_class: class.spec.runtime_class_name.clone(),
        resources: class.spec.resources.clone(),
        scheduling: class.spec.scheduling.clone(),
        expires_at: created(workspace) + lifetime(workspace, class)?,
        idle: class.spec.lifetime.idle.into(),
        keys: keys(&spec.ssh_public_keys)?,
    })
}

/// A reference by which an object vanishes before the workspace does, when that is deleted in the foreground.
fn owner(workspace: &Workspace) -> OwnerReference {
    let owner = workspace.controller_owner_ref(&()).unwrap_or_default();
    OwnerReference { block_owner_deletion: Some(true), ..owner }
}

/// When the workspace was created. The API server says so in every object that it stores.
pub fn created(workspace: &Workspace) -> Timestamp {
    workspace.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn image(asked: Option<&str>, class: &WorkspaceClass) -> Result<Reference, Invalid> {
    let parse = |text: &str| text.parse::<Reference>().map_err(|_| Invalid::Image(printable(text)));
    let own = parse(&class.spec.image)?;
    let Some(asked) = asked else { return Ok(own) };
    let image = parse(asked)?;
    let allowed = &class.spec.allowed_images;
    if image == own || allowed.iter().any(|entry| image.is_allowed_by(entry)) {
        return Ok(image);
    }
    let allowed = [&class.spec.image].into_iter().chain(allowed).map(|entry| format!("`{entry}`")).collect();
    Err(Invalid::ImageNotAllowed { class: class.name_any(), image: printable(asked), allowed })
}

fn check_egress(workspace: &Workspace, class: &WorkspaceClass) -> Result<(), Invalid> {
    let rules = &class.spec.egress.rules;
    let unknown = |name: &&String| rules.iter().all(|rule| rule.name != **name);
    match workspace.spec.egress.iter().flatten().find(unknown) {
        None => Ok(()),
        Some(rule) => Err(Invalid::UnknownEgressRule {
            class: class.name_any(),
            rule: printable(rule),
            rules: match rules.as_slice() {
                [] => vec!["none".into()],
                rules => rules.iter().map(|rule| format!("`{}`", rule.name)).collect(),
            },
        }),
    }
}

fn lifetime(workspace: &Workspace, class: &WorkspaceClass) -> Result<Duration, Invalid> {
    let limits = &class.spec.lifetime;
    let asked: Duration = workspace.spec.lifetime.unwrap_or(limits.default).into();
    let max: Duration = limits.max.into();
    if asked > max {
        return Err(Invalid::LifetimeTooLong { class: class.name_any(), asked, max });
    }
    Ok(asked)
}

fn keys(lines: &[String]) -> Result<Vec<PublicKey>, Invalid> {
    let key = |(number, line): (usize, &String)| match PublicKey::from_openssh(line) {
        Ok(key) if key.algorithm() == Algorithm::Ed25519 => Ok(key),
        _ => Err(Invalid::Key(number + 1)),
    };
    if lines.is_empty() {
        return Err(Invalid::Key(1));
    }
    lines.iter().enumerate().map(key).collect()
}

#[cfg(test)]
mod tests;
