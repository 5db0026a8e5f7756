//! What a policy means, as plainly as it can be written: rule by rule, from what the admin wrote.

use serde_json::Value;
use ws_api::egress::{Body, Egress, EgressRule, Requests, Scheme};
use ws_policy::{
    class::ClassPolicy,
    request::{Length, Request, default_port},
};

use crate::random::Asked;

pub fn compile(egress: &Egress) -> ClassPolicy {
    ClassPolicy::compile("default".parse().unwrap(), egress).unwrap()
}

/// The first of the picked rules that allows a request.
///
/// The first that allows its head is asked, and the others only if that one looks into the body.
pub fn allowed_by<'a>(egress: &'a Egress, picks: &[String], asked: &Asked) -> Option<&'a str> {
    let picked = egress.rules.iter().filter(|rule| picks.contains(&rule.name));
    let by_head: Vec<(&EgressRule, &Requests)> = picked
        .filter(|rule| reaches(rule, &asked.request))
        .flat_map(|rule| rule.allow.iter().flatten().map(move |requests| (rule, requests)))
        .filter(|(_, requests)| has_head(requests, &asked.request))
        .collect();
    let is_looked_into = by_head.first()?.1.body.as_ref().is_some_and(|body| body.json.is_some());
    let asked_ones = if is_looked_into { by_head.len() } else { 1 };
    let mut by_body = by_head.into_iter().take(asked_ones);
    by_body
        .find(|(_, requests)| has_body(requests.body.as_ref(), &asked.body))
        .map(|(rule, _)| rule.name.as_str())
}

fn reaches(rule: &EgressRule, request: &Request) -> bool {
    let (hosts, scheme, ports) = if let Some(service) = &rule.service {
        (vec![format!("{}.{}.svc", service.name, service.namespace)], Scheme::Http, vec![service.port])
    } else {
        let scheme = rule.scheme.unwrap_or(Scheme::Https);
        let ports = rule.ports.clone().unwrap_or_else(|| vec![default_port(scheme)]);
        (rule.hosts.clone().unwrap_or_default(), scheme, ports)
    };
    hosts.iter().any(|host| host == request.host.as_str())
        && scheme == request.scheme
        && ports.contains(&request.port)
}

fn has_head(requests: &Requests, request: &Request) -> bool {
    let parameter = |(name, value): &(String, Option<String>)| {
        requests.query.iter().any(|allowed| match allowed.split_once('=') {
            Some((other, only)) => name == other && value.as_deref() == Some(only),
            None => allowed == "*" || (allowed == name && !value.iter().any(|value| value.contains(';'))),
        })
    };
    let max = requests.body.as_ref().map(|body| body.max.0.parse::<u64>().unwrap());
    requests.methods.iter().any(|method| method == request.method.as_str())
        && requests.paths.iter().any(|pattern| is_like(pattern, request.path.as_str()))
        && request.query.pairs().iter().all(parameter)
        && match request.body {
            Length::None => true,
            Length::Bytes(bytes) => bytes <= max.unwrap_or(0),
            Length::Unknown => max.is_some(),
        }
}

fn has_body(body: Option<&Body>, bytes: &[u8]) -> bool {
    let Some(body) = body else { return bytes.is_empty() };
    let Some(json) = &body.json else { return bytes.len() as u64 <= body.max.0.parse().unwrap() };
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return false };
    bytes.len() as u64 <= body.max.0.parse().unwrap()
        && json.required.iter().all(|key| document.get(key).is_some())
        && json.forbidden.iter().all(|key| document.get(key).is_none())
}

/// Tries each way in which a pattern's placeholders can stand for something.
fn is_like(pattern: &str, path: &str) -> bool {
    const DOUBTFUL: [&str; 7] = ["%2F", "%5C", "%23", "%3F", "%25", "%3B", ";"];
    let is_clear = |text: &str| !DOUBTFUL.iter().any(|doubtful| text.contains(doubtful));
    if let Some(folder) = pattern.strip_suffix("/**") {
        let rests = path.match_indices('/').map(|(place, _)| path.split_at(place)).chain([(path, "")]);
        return rests.into_iter().any(|(begin, rest)| is_like(folder, begin) && is_clear(rest));
    }
    let Some((literal, rest)) = pattern.split_once('{') else { return pattern == path };
    let after = rest.split_once('}').unwrap().1;
    let Some(path) = path.strip_prefix(literal) else { return false };
    let end = path.find('/').unwrap_or(path.len());
    let ways = path.char_indices().map(|(place, _)| place).chain([path.len()]);
    ways.filter(|place| (1..=end).contains(place))
        .map(|place| path.split_at(place))
        .any(|(text, rest)| is_clear(text) && is_like(after, rest))
}
