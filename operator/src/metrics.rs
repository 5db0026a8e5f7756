//! What the operator counts.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::reason::Reason;

/// Seconds: from a decision over caches to a request that had to be repeated.
const RECONCILE_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];
/// Seconds: from a cold start on a node with the image to a long pull.
const START_BUCKETS: [f64; 11] = [0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The operator's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Outcome, Counter>,
    reconcile_seconds: Histogram,
    start_seconds: Histogram,
    failures: Family<Failure, Counter>,
    policies: Family<Policy, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Outcome {
    outcome: ReconcileOutcome,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum ReconcileOutcome {
    Done,
    /// It is tried again.
    Failed,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Failure {
    reason: Reason,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Policy {
    outcome: PolicyOutcome,
}

/// What was done about a network policy that was not right while pods needed it.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum PolicyOutcome {
    Repaired,
    SessionsEnded,
}

impl Metrics {
    /// Registers everything in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("ws_operator");
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_seconds: Histogram::new(RECONCILE_BUCKETS),
            start_seconds: Histogram::new(START_BUCKETS),
            failures: Family::default(),
            policies: Family::default(),
        };
        let Self { reconciles, reconcile_seconds, start_seconds, failures, policies } = &metrics;
        registry.register("reconciles", "Reconciles of workspaces", reconciles.clone());
        registry.register_with_unit(
            "reconcile",
            "Time of a reconcile",
            Unit::Seconds,
            reconcile_seconds.clone(),
        );
        registry.register_with_unit(
            "start",
            "Time from a workspace's creation to its being ready",
            Unit::Seconds,
            start_seconds.clone(),
        );
        registry.register("failures", "Workspaces that failed", failures.clone());
        registry.register(
            "policy_faults",
            "Network policies that were not right while pods needed them",
            policies.clone(),
        );
        metrics
    }

    pub fn reconciled(&self, outcome: ReconcileOutcome, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    pub fn ready(&self, after: Duration) {
        self.start_seconds.observe(after.as_secs_f64());
    }

    pub fn failed(&self, reason: Reason) {
        self.failures.get_or_create(&Failure { reason }).inc();
    }

    pub fn policy(&self, outcome: PolicyOutcome) {
        self.policies.get_or_create(&Policy { outcome }).inc();
    }
}
