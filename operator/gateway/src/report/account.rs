//! What is to be written into a Workspace's status, and how it is added to what is there. Pure.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time},
    jiff::Timestamp,
};
use serde_json::{Value, json};
use ws_api::{
    reason::Reason,
    workspace::{
        DeniedHost, EgressStatus, MAX_LAST_DENIED, RuleEgress, Timings, Workspace, WorkspaceStatus, condition,
    },
};
use ws_policy::{decide::BudgetScope, host::MAX_NAME};

use super::{
    news::News,
    pace::{Pace, Urgency},
};

use crate::sessions::Identity;

const PROVEN: &str = "Proven";

/// What this process has to say about one workspace.
#[derive(Debug, Default)]
pub struct Account {
    pub pending: Pending,
    /// The object as it was last seen, so that a write needs no read unless somebody else wrote.
    pub seen: Option<Seen>,
    /// When what is pending is written.
    pub pace: Pace,
    news: News,
    /// The agent's statement was taken; another has no effect.
    is_isolated: bool,
    /// Somebody writes what is pending, and looks again before he stops.
    has_writer: bool,
}

/// What is not written yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    /// To be added to the status.
    egress: EgressStatus,
    isolated: Option<Isolation>,
}

/// The proof that an agent reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Isolation {
    pub at: Timestamp,
    pub attempts: u32,
}

/// A version of the object and what of it the gateway owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub resource_version: String,
    pub owned: Owned,
}

/// The fields of a status that the gateway owns. An apply that left one out would remove it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owned {
    egress: Option<EgressStatus>,
    enforced: Option<Condition>,
    isolated: Option<MicroTime>,
}

impl Account {
    /// Counts a denied request. The host is hostile and may be empty. Whether that made what is pending more urgent: it is the
    /// first of its kind.
    pub fn deny(&mut self, host: &str, reason: Reason, now: Timestamp) -> bool {
        let egress = &mut self.pending.egress;
        egress.denied = egress.denied.saturating_add(1);
        if host.is_empty() {
            return false;
        }
        let host: String = host.chars().take(MAX_NAME).collect();
        let is_first = self.news.is_first(&host, reason);
        let reason = Some(reason.as_str().to_owned());
        add_host(&mut egress.last_denied, DeniedHost { host, count: 1, at: seconds(now), reason });
        is_first && self.pace.urge(Urgency::News)
    }

    /// Counts what was allowed.
    pub fn allow(&mut self, rule: &str, sent_bytes: u64, is_missing: bool) {
        let egress = &mut self.pending.egress;
        let sent_bytes = signed(sent_bytes);
        egress.allowed = egress.allowed.saturating_add(1);
        egress.uploaded_bytes = egress.uploaded_bytes.saturating_add(sent_bytes);
        add_rule(
            &mut egress.rules,
            RuleEgress {
                name: rule.to_owned(),
                allowed: 1,
                sent_bytes,
                reserved_bytes: 0,
                not_found: is_missing.into(),
            },
        );
    }

    /// Takes the agent's statement, once. Whether that made what is pending more urgent.
    pub fn isolate(&mut self, isolation: Isolation) -> bool {
        let is_first = !std::mem::replace(&mut self.is_isolated, true);
        if is_first {
            self.pending.isolated = Some(isolation);
        }
        is_first && self.pace.urge(Urgency::Awaited)
    }

    /// Takes what is to be written, and the object as it was last seen.
    pub fn take(&mut self) -> (Pending, Option<Seen>) {
        self.pace.begin();
        (std::mem::take(&mut self.pending), self.seen.take())
    }

    /// Whether the caller must now write what is pending: there is something and nobody does.
    pub fn engage_writer(&mut self) -> bool {
        !self.pending.is_empty() && !std::mem::replace(&mut self.has_writer, true)
    }

    /// Whether the writer may stop: nothing is pending.
    pub fn release_writer(&mut self) -> bool {
        self.has_writer = !self.pending.is_empty();
        !self.has_writer
    }

    /// Puts back what could not be written.
    pub fn restore(&mut self, unwritten: Pending) {
        let newer = std::mem::replace(&mut self.pending, unwritten);
        add(&mut self.pending.egress, newer.egress);
        self.pending.isolated = self.pending.isolated.take().or(newer.isolated);
    }
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Seen {
    pub fn of(workspace: &Workspace) -> Self {
        let status = workspace.status.clone().unwrap_or_default();
        let owned = Owned {
            egress: status.egress,
            enforced: status.conditions.into_iter().find(|known| known.type_ == condition::EGRESS_ENFORCED),
            isolated: status.timings.and_then(|timings| timings.isolated),
        };
        Self { resource_version: workspace.metadata.resource_version.clone().unwrap_or_default(), owned }
    }
}

impl Owned {
    /// These fields with what is pending. A proof that is recorded already stays as it is.
    pub fn with(mut self, pending: &Pending) -> Self {
        if pending.egress != EgressStatus::default() {
            add(self.egress.get_or_insert_default(), pending.egress.clone());
        }
        let is_enforced = self.enforced.as_ref().is_some_and(|known| known.status == "True");
        if let Some(isolation) = pending.isolated.as_ref().filter(|_| !is_enforced) {
            self.enforced = Some(enforced(isolation));
            self.isolated =
                Some(MicroTime(round(isolation.at, Timestamp::as_microsecond, Timestamp::from_microsecond)));
        }
        self
    }

    /// These fields with the gateway's authority, as PEM.
    pub fn vouched_by(mut self, authority: Option<&str>) -> Self {
        if let Some(authority) = authority {
            self.egress.get_or_insert_default().authority = Some(authority.to_owned());
        }
        self
    }

    /// Bytes that were set aside so far.
    pub fn reserved(&self, scope: &BudgetScope) -> u64 {
        let Some(egress) = &self.egress else { return 0 };
        let reserved = match scope {
            BudgetScope::Class => egress.reserved_bytes,
            BudgetScope::Rule(name) => self.rule(name).map_or(0, |rule| rule.reserved_bytes),
        };
        u64::try_from(reserved).unwrap_or_default()
    }

    /// Answers by a rule that said there is no such thing.
    pub fn not_found(&self, rule: &str) -> u64 {
        self.rule(rule).map_or(0, |rule| u64::try_from(rule.not_found).unwrap_or_default())
    }

    fn rule(&self, name: &str) -> Option<&RuleEgress> {
        self.egress.as_ref()?.rules.iter().find(|rule| rule.name == name)
    }

    /// These fields with more bytes set aside.
    pub fn with_reserved(mut self, scope: &BudgetScope, bytes: u64) -> Self {
        let (egress, reserved_bytes) = (self.egress.get_or_insert_default(), signed(bytes));
        match scope {
            BudgetScope::Class => {
                egress.reserved_bytes = egress.reserved_bytes.saturating_add(reserved_bytes);
            }
            BudgetScope::Rule(name) => {
                add_rule(
                    &mut egress.rules,
                    RuleEgress { name: name.clone(), reserved_bytes, ..RuleEgress::default() },
                );
            }
        }
        self
    }

    /// The body of a server-side apply to the status of exactly that version of exactly that Workspace.
    pub fn to_apply(&self, identity: &Identity, resource_version: &str) -> Value {
        let status = WorkspaceStatus {
            conditions: self.enforced.clone().into_iter().collect(),
            egress: self.egress.clone(),
            timings: self
                .isolated
                .clone()
                .map(|isolated| Timings { isolated: Some(isolated), ..Timings::default() }),
            ..WorkspaceStatus::default()
        };
        json!({
            "apiVersion": <Workspace as kube::Resource>::api_version(&()),
            "kind": <Workspace as kube::Resource>::kind(&()),
            "metadata": {
                "name": identity.workspace.as_ref(),
                "namespace": identity.namespace,
                "uid": identity.workspace_uid,
                "resourceVersion": resource_version,
            },
            "status": status,
        })
    }
}

fn enforced(isolation: &Isolation) -> Condition {
    Condition {
        type_: condition::EGRESS_ENFORCED.into(),
        status: "True".into(),
        reason: PROVEN.into(),
        message: format!(
            "before it served anything, the pod failed in {} attempts to reach what its network policy forbids",
            isolation.attempts
        ),
        last_transition_time: seconds(isolation.at),
        observed_generation: None,
    }
}

fn add(total: &mut EgressStatus, more: EgressStatus) {
    total.allowed = total.allowed.saturating_add(more.allowed);
    total.denied = total.denied.saturating_add(more.denied);
    total.uploaded_bytes = total.uploaded_bytes.saturating_add(more.uploaded_bytes);
    total.reserved_bytes = total.reserved_bytes.saturating_add(more.reserved_bytes);
    for rule in more.rules {
        add_rule(&mut total.rules, rule);
    }
    for host in more.last_denied.into_iter().rev() {
        add_host(&mut total.last_denied, host);
    }
}

/// Keeps each rule once. They are few: a class has at most 64, and what one was called is forgotten with the workspace.
fn add_rule(rules: &mut Vec<RuleEgress>, more: RuleEgress) {
    match rules.iter_mut().find(|rule| rule.name == more.name) {
        Some(rule) => {
            rule.allowed = rule.allowed.saturating_add(more.allowed);
            rule.sent_bytes = rule.sent_bytes.saturating_add(more.sent_bytes);
            rule.reserved_bytes = rule.reserved_bytes.saturating_add(more.reserved_bytes);
            rule.not_found = rule.not_found.saturating_add(more.not_found);
        }
        None => rules.push(more),
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Keeps the latest first and each host once.
fn add_host(hosts: &mut Vec<DeniedHost>, mut new: DeniedHost) {
    if let Some(known) = hosts.iter().position(|known| known.host == new.host) {
        let known = hosts.remove(known);
        new.count = new.count.saturating_add(known.count);
        if known.at > new.at {
            (new.at, new.reason) = (known.at, known.reason);
        }
    }
    let place = hosts.iter().position(|known| known.at <= new.at).unwrap_or(hosts.len());
    hosts.insert(place, new);
    hosts.truncate(MAX_LAST_DENIED);
}

fn seconds(at: Timestamp) -> Time {
    Time(round(at, Timestamp::as_second, Timestamp::from_second))
}

/// Cuts a time to what its Kubernetes type holds.
fn round<E>(at: Timestamp, to: fn(Timestamp) -> i64, from: fn(i64) -> Result<Timestamp, E>) -> Timestamp {
    from(to(at)).unwrap_or(at)
}

#[cfg(test)]
mod tests;
