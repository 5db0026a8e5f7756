//! The one place where a request is allowed or denied. Pure: it resolves nothing and reaches nobody.

use std::{iter::once, sync::Arc};

use ws_api::egress::Locked;

mod allowed;
mod denied;

pub use allowed::{Allowed, Budget, BudgetScope};
pub use denied::Denied;

use self::denied::{nearer, too_long, unlike, wrong_port, wrong_scheme};
use crate::{
    class::{Access, Allowance, Policy, QueryRule, Rule, Stranger},
    host::Host,
    path::Query,
    pattern::PathPattern,
    request::{Length, Origin, Request},
};

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
    /// What would allow it, in order.
    first: Allowed,
    others: Vec<Allowed>,
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
    for rule in named(policy, &request.host)? {
        let allow = |allowance| Allowed::request(&policy.class, rule, allowance, request.origin());
        match head(rule, request, &policy.locked) {
            Ok(allowances) => candidates.extend(allowances.into_iter().map(allow)),
            Err(denied) => nearest = Some(nearer(nearest, denied)),
        }
    }
    let mut candidates = candidates.into_iter();
    let Some(first) = candidates.next() else {
        return Err(nearest.unwrap_or_else(|| unnamed(policy, &request.host)));
    };
    if first.hangs_on_body() {
        Ok(Decision::NeedsBody(Undecided { first, others: candidates.collect() }))
    } else {
        Ok(Decision::Allowed(first))
    }
}

/// Decides on a connection that may hold anything.
///
/// # Errors
///
/// If no request on it could be allowed either.
pub fn decide_tunnel(policy: &Policy, host: &Host, port: u16) -> Result<Tunnel, Denied> {
    let mut nearest = None;
    let mut is_inspected = false;
    for rule in named(policy, host)? {
        match &rule.access {
            _ if !rule.ports.contains(&port) => nearest = Some(nearer(nearest, wrong_port(rule, host, port))),
            Access::Requests(_) => is_inspected = true,
            Access::Uninspected => {
                let origin = Origin { scheme: rule.scheme, host: host.clone(), port };
                return Ok(Tunnel::Uninspected(Allowed::connection(&policy.class, rule, origin)));
            }
        }
    }
    if is_inspected { Ok(Tunnel::Inspected) } else { Err(nearest.unwrap_or_else(|| unnamed(policy, host))) }
}

impl Undecided {
    /// The first rule that may allow it.
    pub fn rule(&self) -> &Rule {
        self.first.rule()
    }

    /// Whether something that may allow it [covers](Allowed::covers) this.
    pub fn covers(&self, before: &Allowed) -> bool {
        self.candidates().any(|allowed| allowed.covers(before))
    }

    /// Why a body is denied that is longer than [`Undecided::max_body`].
    pub fn too_long(&self, host: &Host) -> Denied {
        too_long(self.rule(), host, self.max_body())
    }

    /// The most bytes of the body that any rule wants to see.
    pub fn max_body(&self) -> u64 {
        self.candidates().map(Allowed::max_body).max().unwrap_or_default()
    }

    /// What allows it whatever its body says, if something does.
    pub fn whatever_it_says(&self) -> Option<Allowed> {
        self.candidates().find(|allowed| !allowed.hangs_on_body()).cloned()
    }

    /// Decides on the request with its whole body.
    ///
    /// # Errors
    ///
    /// Why it is denied.
    pub fn decide(self, host: &Host, body: &[u8]) -> Result<Allowed, Denied> {
        self.others.into_iter().fold(judge(self.first, host, body), |decided, next| {
            decided.or_else(|before| judge(next, host, body).map_err(|denied| nearer(Some(before), denied)))
        })
    }

    fn candidates(&self) -> impl Iterator<Item = &Allowed> {
        once(&self.first).chain(&self.others)
    }
}

/// The rules of the workspace that name a host.
fn named<'a>(policy: &'a Policy, host: &Host) -> Result<impl Iterator<Item = &'a Arc<Rule>>, Denied> {
    if host.is_address() {
        return Err(Denied::IpLiteral { host: host.clone() });
    }
    let naming = policy.class.by_host.get(host.as_str()).copied().unwrap_or_default();
    let picked = naming.and(policy.picked);
    if picked.is_empty() {
        return Err(unnamed(policy, host));
    }
    Ok(picked.indexes().filter_map(|index| policy.class.rules.get(index)))
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
fn head<'a>(rule: &'a Rule, request: &Request, locked: &Locked) -> Result<Vec<&'a Arc<Allowance>>, Denied> {
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
    for allowance in allowances {
        let Some(pattern) = like(allowance, request) else { continue };
        match satisfies(rule, (allowance, pattern), request, locked) {
            Ok(()) => satisfied.push(allowance),
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
    if request.shows_placeholder() {
        return Err(Denied::Placeholder { host: request.host.clone(), rule: rule.name.clone() });
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

/// Decides on a body by what would allow it.
fn judge(allowed: Allowed, host: &Host, body: &[u8]) -> Result<Allowed, Denied> {
    let (rule, max) = (allowed.rule(), allowed.max_body());
    if body.len() as u64 > max {
        return Err(too_long(rule, host, max));
    }
    if let Some(json) = allowed.body().and_then(|body| body.json.as_ref()) {
        json.judge(body).map_err(|offence| Denied::Body { rule: rule.name.clone(), offence })?;
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests;
