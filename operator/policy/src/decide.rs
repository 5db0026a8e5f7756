//! The one place where a request is allowed or denied. Pure: it resolves nothing and reaches nobody.

use std::{sync::Arc, time::Duration};

use ws_api::egress::Locked;

mod denied;

pub use denied::Denied;

use self::denied::{nearer, too_long, unlike, wrong_port, wrong_scheme};
use crate::{
    class::{Access, Allowance, BodyRule, ClassPolicy, Policy, QueryRule, Rule, Stranger},
    host::Host,
    path::{Path, Query},
    pattern::PathPattern,
    request::{Length, Origin, Request},
};

/// Permission to send one request. Only this module makes it, and only what is allowed can be dialled.
#[derive(Clone, Debug)]
pub struct Allowed {
    class: Arc<ClassPolicy>,
    rule: usize,
    allowance: usize,
    origin: Origin,
}

/// Bytes that may be sent. None: any number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Budget {
    /// In a workspace's life.
    pub life: Option<(Purse, u64)>,
    /// In one request.
    pub request: Option<u64>,
}

/// What bytes are counted together.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Purse {
    /// Those of all rules without a budget of their own.
    Class,
    Rule(String),
}

/// What becomes of a request whose head is known.
#[derive(Clone, Debug)]
pub enum Decision {
    Allowed(Allowed),
    /// Its body decides: [`Undecided::decide`].
    NeedsBody(Undecided),
}

/// A request that is allowed if its body is as a rule says.
#[derive(Clone, Debug)]
pub struct Undecided {
    class: Arc<ClassPolicy>,
    /// Rules with their allowances, in order.
    candidates: Vec<(usize, usize)>,
    origin: Origin,
}

/// What becomes of a connection to a host and a port.
#[derive(Clone, Debug)]
pub enum Tunnel {
    /// Each request on it is decided on, whether it comes through TLS or not.
    Inspected,
    Uninspected(Allowed),
}

/// Decides on a request by its head.
///
/// # Errors
///
/// Why it is denied.
pub fn decide(policy: &Policy, request: &Request) -> Result<Decision, Denied> {
    let mut nearest = None;
    let mut candidates = Vec::new();
    for index in named(policy, &request.host)? {
        let Some(rule) = policy.class.rules.get(index) else { continue };
        match head(rule, request, &policy.locked) {
            Ok(allowances) => candidates.extend(allowances.into_iter().map(|allowance| (index, allowance))),
            Err(denied) => nearest = Some(nearer(nearest, denied)),
        }
    }
    let Some(first) = candidates.first() else {
        return Err(nearest.unwrap_or_else(|| unnamed(policy, &request.host)));
    };
    let allowed =
        Allowed { class: policy.class.clone(), rule: first.0, allowance: first.1, origin: request.origin() };
    if !allowed.hangs_on_body() {
        return Ok(Decision::Allowed(allowed));
    }
    Ok(Decision::NeedsBody(Undecided { class: allowed.class, candidates, origin: allowed.origin }))
}

/// Decides on a connection that may hold anything.
///
/// # Errors
///
/// If no request on it could be allowed either.
pub fn decide_tunnel(policy: &Policy, host: &Host, port: u16) -> Result<Tunnel, Denied> {
    let mut nearest = None;
    let mut is_inspected = false;
    for index in named(policy, host)? {
        let Some(rule) = policy.class.rules.get(index) else { continue };
        match &rule.access {
            _ if !rule.ports.contains(&port) => nearest = Some(nearer(nearest, wrong_port(rule, host, port))),
            Access::Requests(_) => is_inspected = true,
            Access::Uninspected => {
                let origin = Origin { scheme: rule.scheme, host: host.clone(), port };
                let class = policy.class.clone();
                return Ok(Tunnel::Uninspected(Allowed { class, rule: index, allowance: 0, origin }));
            }
        }
    }
    if is_inspected { Ok(Tunnel::Inspected) } else { Err(nearest.unwrap_or_else(|| unnamed(policy, host))) }
}

impl Undecided {
    /// The first rule that may allow it.
    pub fn rule(&self) -> Option<&Rule> {
        self.class.rules.get(self.candidates.first()?.0)
    }

    /// Whether something that may allow it [covers](Allowed::covers) this.
    pub fn covers(&self, before: &Allowed) -> bool {
        self.allowed().any(|allowed| allowed.covers(before))
    }

    /// Why a body is denied that is longer than [`Undecided::max_body`].
    pub fn too_long(&self, host: &Host) -> Denied {
        let rule = self.rule().map(|rule| rule.name.clone()).unwrap_or_default();
        Denied::BodyTooLong { host: host.clone(), rule, max: self.max_body() }
    }

    /// The most bytes of the body that any rule wants to see.
    pub fn max_body(&self) -> u64 {
        self.allowed().filter_map(|allowed| Some(allowed.body()?.max)).max().unwrap_or_default()
    }

    /// What allows it whatever its body says, if something does.
    pub fn whatever_it_says(&self) -> Option<Allowed> {
        self.allowed().find(|allowed| !allowed.hangs_on_body())
    }

    /// Decides on the request with its whole body.
    ///
    /// # Errors
    ///
    /// Why it is denied.
    pub fn decide(self, host: &Host, body: &[u8]) -> Result<Allowed, Denied> {
        let mut nearest = None;
        for allowed in self.allowed() {
            match judge(&allowed, host, body) {
                Ok(()) => return Ok(allowed),
                Err(denied) => nearest = Some(nearer(nearest, denied)),
            }
        }
        let class = self.class.class.clone();
        Err(nearest.unwrap_or(Denied::HostNotAllowed { host: host.clone(), class }))
    }

    fn allowed(&self) -> impl Iterator<Item = Allowed> {
        self.candidates.iter().map(|(rule, allowance)| Allowed {
            class: self.class.clone(),
            rule: *rule,
            allowance: *allowance,
            origin: self.origin.clone(),
        })
    }
}

impl Budget {
    /// Whether it has at least as much room as another one.
    fn covers(&self, other: &Self) -> bool {
        let has_room = |this: Option<u64>, other: Option<u64>| match (this, other) {
            (None, _) => true,
            (Some(this), other) => other.is_some_and(|other| this >= other),
        };
        let is_the_same = match (&self.life, &other.life) {
            (Some((purse, bytes)), Some((other, others))) => purse == other && bytes >= others,
            (this, _) => this.is_none(),
        };
        is_the_same && has_room(self.request, other.request)
    }
}

impl Allowed {
    /// Where it may be sent, and nowhere else.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether what was allowed before, by an older policy, may go on by this: by the same rule, which demands the same of its body,
    /// puts the same credential in and lets as much be sent, in messages as long.
    pub fn covers(&self, before: &Self) -> bool {
        let credential = |allowed: &Self| allowed.rule().and_then(|rule| rule.credential.clone());
        self.rule_name() == before.rule_name()
            && self.body() == before.body()
            && self.web_socket() >= before.web_socket()
            && credential(self) == credential(before)
            && self.budget().covers(&before.budget())
    }

    /// The rule that allows the request.
    pub fn rule(&self) -> Option<&Rule> {
        self.class.rules.get(self.rule)
    }

    /// What of the rule allows it; none if the connection is not looked into.
    pub fn allowance(&self) -> Option<&Allowance> {
        match &self.rule()?.access {
            Access::Requests(allowances) => allowances.get(self.allowance),
            Access::Uninspected => None,
        }
    }

    /// What may be sent by it.
    pub fn budget(&self) -> Budget {
        let Some(rule) = self.rule() else { return Budget::default() };
        let of_rule = rule.upload.map(|bytes| (Purse::Rule(rule.name.clone()), bytes));
        let life = of_rule.or_else(|| Some((Purse::Class, self.class.upload?)));
        Budget { life, request: rule.request }
    }

    /// The name of that rule.
    pub fn rule_name(&self) -> &str {
        self.rule().map_or("", |rule| &rule.name)
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
    fn hangs_on_body(&self) -> bool {
        self.body().is_some_and(BodyRule::is_json)
    }
}

/// The rules of the workspace that name a host.
fn named(policy: &Policy, host: &Host) -> Result<impl Iterator<Item = usize>, Denied> {
    if host.is_address() {
        return Err(Denied::IpLiteral { host: host.clone() });
    }
    let naming = policy.class.by_host.get(host.as_str()).copied().unwrap_or_default();
    let picked = naming.and(policy.picked);
    if picked.is_empty() {
        return Err(unnamed(policy, host));
    }
    Ok(picked.indexes())
}

fn unnamed(policy: &Policy, host: &Host) -> Denied {
    let naming = policy.class.by_host.get(host.as_str());
    let rule = naming.and_then(|naming| policy.class.rules.get(naming.indexes().next()?));
    match rule {
        Some(rule) => Denied::RuleNotPicked { host: host.clone(), rule: rule.name.clone() },
        None => Denied::HostNotAllowed { host: host.clone(), class: policy.class.class.clone() },
    }
}

/// The rule's allowances that a head satisfies.
fn head(rule: &Rule, request: &Request, locked: &Locked) -> Result<Vec<usize>, Denied> {
    if !rule.ports.contains(&request.port) {
        return Err(wrong_port(rule, &request.host, request.port));
    }
    if rule.scheme != request.scheme {
        return Err(wrong_scheme(rule, &request.host));
    }
    let Access::Requests(allowances) = &rule.access else {
        return Err(unlike(rule, request));
    };
    let mut nearest = None;
    let mut satisfied = Vec::new();
    for (index, allowance) in allowances.iter().enumerate() {
        let Some(pattern) = like(allowance, request) else { continue };
        match satisfies(rule, (allowance, pattern), request, locked) {
            Ok(()) => satisfied.push(index),
            Err(denied) => nearest = Some(nearer(nearest, denied)),
        }
    }
    if satisfied.is_empty() { Err(nearest.unwrap_or_else(|| unlike(rule, request))) } else { Ok(satisfied) }
}

/// The pattern by which an allowance is for requests like this.
fn like<'a>(allowance: &'a Allowance, request: &Request) -> Option<&'a PathPattern> {
    let has_method = allowance.methods.contains(&request.method);
    allowance.pattern(&request.path).filter(|_| has_method)
}

fn satisfies(
    rule: &Rule,
    (allowance, pattern): (&Allowance, &PathPattern),
    request: &Request,
    locked: &Locked,
) -> Result<(), Denied> {
    if allowance.web_socket.is_some() != request.opens_web_socket {
        return Err(Denied::WebSocket {
            host: request.host.clone(),
            rule: rule.name.clone(),
            path: request.path.clone(),
            is_asked: request.opens_web_socket,
        });
    }
    let package = allowance.package.as_ref();
    if let Some(stranger) = package.and_then(|rule| rule.stranger(pattern, &request.path, locked)) {
        let (host, rule) = (request.host.clone(), rule.name.clone());
        return Err(match stranger {
            Stranger::Package(package) => Denied::PackageNotAllowed { host, rule, package },
            Stranger::Path { package, placeholder } => {
                Denied::PackagePath { host, rule, package, placeholder }
            }
        });
    }
    if let Some(parameter) = beyond(&allowance.query, &request.query) {
        return Err(Denied::QueryNotAllowed {
            host: request.host.clone(),
            rule: rule.name.clone(),
            parameter,
        });
    }
    let max = allowance.body.as_ref().map_or(0, |body| body.max);
    let fits = match request.body {
        Length::None => true,
        Length::Bytes(length) => length <= max,
        Length::Unknown => allowance.body.is_some(),
    };
    if fits { Ok(()) } else { Err(too_long(rule, &request.host, max)) }
}

/// A parameter that is not allowed.
fn beyond(rule: &QueryRule, query: &Query) -> Option<String> {
    let QueryRule::Only(allowed) = rule else { return None };
    // Some servers begin another parameter at a semicolon: it stands only where a rule writes it out.
    let is_one = |value: &Option<String>| !value.as_ref().is_some_and(|value| value.contains(';'));
    let is_allowed = |(name, value): &(String, Option<String>)| {
        let fits = |only: &Option<String>| if only.is_none() { is_one(value) } else { only == value };
        allowed.iter().any(|(other, only)| name == other && fits(only))
    };
    query.pairs().iter().find(|pair| !is_allowed(pair)).map(|(name, _)| name.clone())
}

fn judge(allowed: &Allowed, host: &Host, body: &[u8]) -> Result<(), Denied> {
    let (Some(rule), Some(limits)) = (allowed.rule(), allowed.body()) else { return Ok(()) };
    if body.len() as u64 > limits.max {
        return Err(too_long(rule, host, limits.max));
    }
    let Some(json) = &limits.json else { return Ok(()) };
    json.judge(body).map_err(|offence| Denied::Body { rule: rule.name.clone(), offence })
}

#[cfg(test)]
mod tests;
