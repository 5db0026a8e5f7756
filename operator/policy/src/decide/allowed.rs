//! Permission to send, and how much.

use std::{sync::Arc, time::Duration};

use crate::{
    class::{Allowance, BodyRule, ClassPolicy, Rule},
    path::Path,
    request::Origin,
};

/// Permission to send one request, or whatever passes over one connection. Only a decision makes it, and only what is allowed can be
/// dialled.
#[derive(Clone, Debug)]
pub struct Allowed {
    rule: Arc<Rule>,
    /// None: it is a connection that nobody looks into.
    allowance: Option<Arc<Allowance>>,
    /// Bytes that the rules without a budget of their own share in a workspace's life.
    shared: Option<u64>,
    origin: Origin,
}

/// Bytes that may be sent. None: any number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Budget {
    /// In a workspace's life.
    pub life: Option<(BudgetScope, u64)>,
    /// In one request.
    pub request: Option<u64>,
}

/// What bytes are counted together.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum BudgetScope {
    /// Those of all rules without a budget of their own.
    Class,
    Rule(String),
}

impl Budget {
    /// Whether it has at least as much room as another one.
    fn covers(&self, other: &Self) -> bool {
        let has_room = |this: Option<u64>, other: Option<u64>| match (this, other) {
            (None, _) => true,
            (Some(this), other) => other.is_some_and(|other| this >= other),
        };
        let is_the_same = match (&self.life, &other.life) {
            (Some((scope, bytes)), Some((other, others))) => scope == other && bytes >= others,
            (this, _) => this.is_none(),
        };
        is_the_same && has_room(self.request, other.request)
    }
}

impl Allowed {
    pub(super) fn request(
        class: &ClassPolicy,
        rule: &Arc<Rule>,
        allowance: &Arc<Allowance>,
        origin: Origin,
    ) -> Self {
        Self { allowance: Some(allowance.clone()), ..Self::connection(class, rule, origin) }
    }

    pub(super) fn connection(class: &ClassPolicy, rule: &Arc<Rule>, origin: Origin) -> Self {
        Self { rule: rule.clone(), allowance: None, shared: class.upload, origin }
    }

    /// Where it may be sent, and nowhere else.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether what was allowed before, by an older policy, may go on by this: by the same rule, which demands the same of its body,
    /// puts the same credential in and lets as much be sent, in messages as long.
    pub fn covers(&self, before: &Self) -> bool {
        self.rule.name == before.rule.name
            && self.body() == before.body()
            && self.web_socket() >= before.web_socket()
            && self.rule.credential == before.rule.credential
            && self.budget().covers(&before.budget())
    }

    /// The rule that allows it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// What of the rule allows it; none if the connection is not looked into.
    pub fn allowance(&self) -> Option<&Allowance> {
        self.allowance.as_deref()
    }

    /// What may be sent by it.
    pub fn budget(&self) -> Budget {
        let of_rule = self.rule.upload.map(|bytes| (BudgetScope::Rule(self.rule.name.clone()), bytes));
        let life = of_rule.or_else(|| Some((BudgetScope::Class, self.shared?)));
        Budget { life, request: self.rule.request }
    }

    /// The pattern that a path fits by which it is allowed: what may be written down of it.
    pub fn path_pattern(&self, path: &Path) -> Option<String> {
        Some(self.allowance()?.pattern(path)?.to_string())
    }

    /// The most bytes of a message, if it opens a WebSocket.
    pub fn web_socket(&self) -> Option<u64> {
        self.allowance()?.web_socket
    }

    /// How long what is answered must have been there.
    pub fn minimum_age(&self) -> Option<Duration> {
        self.allowance()?.package.as_ref()?.minimum_age
    }

    /// The most bytes that its body may have.
    pub fn max_body(&self) -> u64 {
        self.body().map_or(0, |body| body.max)
    }

    /// What its body has to keep to; none: it has none.
    pub fn body(&self) -> Option<&BodyRule> {
        self.allowance()?.body.as_ref()
    }

    /// Whether it is permission only once its body was looked into.
    pub(super) fn hangs_on_body(&self) -> bool {
        self.body().is_some_and(BodyRule::is_json)
    }
}
