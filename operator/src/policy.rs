//! The network policies of classes: whether one is as it must be, and whether somebody else's takes its effect away.
//!
//! Policies are additive: a connection is allowed if any policy that selects the pod allows it. So ours has to be there and
//! unchanged, and no other may allow our pods a way out. Ways in are left to the namespace: whoever uses one is in the cluster
//! already, and the agent listens on the pod's loopback only.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};
use ws_api::{CLASS_LABEL, MANAGED_BY, MANAGED_BY_LABEL, names::ClassName};

use crate::build::{labels, network::class_policy_name};

pub mod keeper;

/// The pods that one policy is for: those of a class in a namespace.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope {
    pub namespace: String,
    pub class: ClassName,
}

impl Scope {
    /// Of an object with the labels of a class.
    pub fn of(object: &impl kube::ResourceExt) -> Option<Self> {
        let labels = object.labels();
        (labels.get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGED_BY)).then_some(())?;
        Some(Self { namespace: object.namespace()?, class: labels.get(CLASS_LABEL)?.parse().ok()? })
    }

    /// Whether this is the name of the scope's policy.
    fn is_policy(&self, policy: &NetworkPolicy) -> bool {
        policy.metadata.namespace.as_deref() == Some(&self.namespace)
            && policy.metadata.name.as_deref() == Some(&class_policy_name(&self.class))
    }
}

/// What was found about a scope's policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    Right,
    Missing,
    /// Not as it must be.
    Wrong,
    /// A policy of this name, not ours, lets the pods out as well. Not ours to repair.
    Widened {
        by: String,
    },
}

/// Judges all policies of the scope's namespace. `removed` is the UID of a policy that is known to be gone.
pub fn judge(
    scope: &Scope,
    desired: &NetworkPolicy,
    policies: &[Arc<NetworkPolicy>],
    removed: Option<&str>,
) -> Finding {
    let there =
        policies.iter().filter(|policy| removed.is_none() || policy.metadata.uid.as_deref() != removed);
    // Names are unique, so that the first of `own` is all of it.
    let (own, foreign): (Vec<_>, Vec<_>) = there
        .filter(|policy| policy.metadata.namespace.as_deref() == Some(&scope.namespace))
        .partition(|policy| scope.is_policy(policy));
    if let Some(widening) = foreign.into_iter().find(|policy| widens(policy, &scope.class)) {
        return Finding::Widened { by: widening.name_any() };
    }
    match own.first() {
        None => Finding::Missing,
        Some(policy) if is_as(policy, desired) => Finding::Right,
        Some(_) => Finding::Wrong,
    }
}

/// Whether the policy is what it should be. What it does not say about (annotations, further labels) may be anything.
pub fn is_as(policy: &NetworkPolicy, desired: &NetworkPolicy) -> bool {
    let labelled = desired.labels().iter().all(|(label, value)| policy.labels().get(label) == Some(value));
    labelled && normal(policy) == normal(desired)
}

/// The spec, with no list left out: the API server stores an empty list as none.
fn normal(policy: &NetworkPolicy) -> NetworkPolicySpec {
    let mut spec = policy.spec.clone().unwrap_or_default();
    spec.ingress.get_or_insert_default();
    spec.egress.get_or_insert_default();
    spec
}

/// Whether a policy that is not the class's own allows the class's pods something beyond it.
fn widens(policy: &NetworkPolicy, class: &ClassName) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let allows = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    // Left out, the type `Egress` follows from there being rules.
    let counts = spec.policy_types.as_ref().is_none_or(|types| types.iter().any(|type_| type_ == "Egress"));
    let selects = match Selector::try_from(spec.pod_selector.clone().unwrap_or_default()) {
        Ok(selector) => selector.matches(&labels(class)),
        // An operator that Kubernetes does not have today: it may select anything.
        Err(_) => true,
    };
    allows && counts && selects
}

#[cfg(test)]
mod tests;
