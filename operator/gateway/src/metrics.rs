//! What the gateway counts, for `/metrics`.

use std::{fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use serde::Serialize;

use ws_api::reason::Reason;

/// Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub decisions: Family<Decided, Counter<u64, AtomicU64>>,
    pub connections: Gauge,
    pub rejected: Counter,
    pub known: Family<Known, Gauge>,
    pub status_patches: Family<Patched, Counter<u64, AtomicU64>>,
    pub audit_lost: Counter,
    pub canary_connections: Counter,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Decided {
    pub decision: Decision,
    /// Of a denial.
    pub reason: Option<ReasonLabel>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ReasonLabel(pub Reason);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Allowed,
    Denied,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Known {
    pub kind: Kind,
}

/// What is watched.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    Pods,
    Classes,
    Workspaces,
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

impl Decision {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let Self { decisions, connections, rejected, known, status_patches, audit_lost, canary_connections } =
            self.clone();
        registry.register("decisions", "Requests decided on", decisions);
        registry.register("connections", "Connections open on the proxy port", connections);
        registry.register(
            "connections_rejected",
            "Connections refused because their source had too many",
            rejected,
        );
        registry.register("watched_objects", "Objects of the cluster that are known", known);
        registry.register("status_patches", "Patches of Workspaces' status", status_patches);
        registry.register("audit_lost", "Lines that the audit log had no room for", audit_lost);
        registry.register("canary_connections", "Connections to the canary port", canary_connections);
    }
}

impl EncodeLabelValue for Decision {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

impl EncodeLabelValue for ReasonLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.as_str().encode(encoder)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "pods",
            Self::Classes => "classes",
            Self::Workspaces => "workspaces",
        })
    }
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.to_string().encode(encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
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
            .get_or_create(&Decided {
                decision: Decision::Denied,
                reason: Some(ReasonLabel(Reason::IpLiteral)),
            })
            .inc();
        metrics.status_patches.get_or_create(&Patched { outcome: Outcome::Conflict }).inc();
        metrics.known.get_or_create(&Known { kind: Kind::Pods }).set(3);
        let mut exposed = String::new();
        encode(&mut exposed, &registry).unwrap();
        for line in [
            r#"ws_gateway_decisions_total{decision="denied",reason="ip-literal"} 1"#,
            r#"ws_gateway_status_patches_total{outcome="conflict"} 1"#,
            "ws_gateway_connections 0",
            "ws_gateway_connections_rejected_total 0",
            r#"ws_gateway_watched_objects{kind="pods"} 3"#,
            "ws_gateway_audit_lost_total 0",
            "ws_gateway_canary_connections_total 0",
        ] {
            assert!(exposed.lines().any(|exposed| exposed == line), "{line}\n{exposed}");
        }
    }
}
