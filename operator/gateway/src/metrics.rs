//! What the gateway counts, for `/metrics`.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::refusal::Reason;

/// Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub decisions: Family<Decided, Counter<u64, AtomicU64>>,
    pub connections: Gauge,
    pub crowded: Counter,
    pub sessions: Gauge,
    pub status_patches: Family<Patched, Counter<u64, AtomicU64>>,
    pub audit_lost: Counter,
    pub canary_connections: Counter,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Decided {
    pub decision: Decision,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Decision {
    Denied,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Patched {
    pub outcome: Outcome,
}

/// How a patch of a status ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    Written,
    /// Somebody else wrote in between; it is tried again at once.
    Conflict,
    Failed,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            decisions,
            connections,
            crowded,
            sessions,
            status_patches,
            audit_lost,
            canary_connections,
        } = self.clone();
        registry.register("decisions", "Requests decided on", decisions);
        registry.register("connections", "Connections open on the proxy port", connections);
        registry.register("crowded", "Connections refused because their source had too many", crowded);
        registry.register("sessions", "Running pods of workspaces that are known", sessions);
        registry.register("status_patches", "Patches of Workspaces' status", status_patches);
        registry.register("audit_lost", "Lines that the audit log had no room for", audit_lost);
        registry.register("canary_connections", "Connections to the canary port", canary_connections);
    }
}

impl EncodeLabelValue for Decision {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Denied => "denied",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Written => "written",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
        .encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn every_metric_is_exposed_under_the_gateways_name() {
        let metrics = Metrics::default();
        let mut registry = Registry::with_prefix("ws_gateway");
        metrics.register(&mut registry);
        metrics
            .decisions
            .get_or_create(&Decided { decision: Decision::Denied, reason: Reason::IpLiteral })
            .inc();
        metrics.status_patches.get_or_create(&Patched { outcome: Outcome::Conflict }).inc();
        let mut exposed = String::new();
        encode(&mut exposed, &registry).unwrap();
        for line in [
            r#"ws_gateway_decisions_total{decision="denied",reason="ip-literal"} 1"#,
            r#"ws_gateway_status_patches_total{outcome="conflict"} 1"#,
            "ws_gateway_connections 0",
            "ws_gateway_crowded_total 0",
            "ws_gateway_sessions 0",
            "ws_gateway_audit_lost_total 0",
            "ws_gateway_canary_connections_total 0",
        ] {
            assert!(exposed.lines().any(|exposed| exposed == line), "{line}\n{exposed}");
        }
    }
}
