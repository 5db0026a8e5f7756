//! What a policy means, as plainly as it can be written: rule by rule, from what the admin wrote.

use serde_json::Value;
use ws_api::egress::{Body, Egress, EgressRule, Locked, Packages, Requests, Scheme};
use ws_policy::{
    class::ClassPolicy,
    package::normalized,
    request::{Length, Request, default_port},
};

use crate::random::Asked;

pub fn compile(egress: &Egress) -> ClassPolicy {
    ClassPolicy::compile("default".parse().unwrap(), egress).unwrap()
}

/// The first of the picked rules that allows a request.
///
/// The first that allows its head is asked, and the others only if that one looks into the body.
pub fn allowed_by<'a>(
    egress: &'a Egress,
    (picks, locked): (&[String], &Locked),
    asked: &Asked,
) -> Option<&'a str> {
    let picked = egress.rules.iter().filter(|rule| picks.contains(&rule.name));
    let by_head: Vec<(&EgressRule, &Requests)> = picked
        .filter(|rule| reaches(rule, &asked.request))
        .flat_map(|rule| rule.allow.iter().flatten().map(move |requests| (rule, requests)))
        .filter(|(rule, requests)| {
            has_head(requests, &asked.request)
                && has_package(requests, rule.packages.as_ref(), locked, &asked.request)
        })
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
        && requests.web_socket.is_some() == request.opens_web_socket
        && requests.paths.iter().any(|pattern| stands(pattern, request.path.as_str()).is_some())
        && request.query.pairs().iter().all(parameter)
        && match request.body {
            Length::None => true,
            Length::Bytes(bytes) => bytes <= max.unwrap_or(0),
            Length::Unknown => max.is_some(),
        }
}

/// Whether the path names a package that may be fetched, and holds nothing else that a registry does not need.
fn has_package(requests: &Requests, packages: Option<&Packages>, locked: &Locked, request: &Request) -> bool {
    let Some(package) = &requests.package else { return true };
    let found = requests.paths.iter().find_map(|pattern| stands(pattern, request.path.as_str())).unwrap();
    let spelled = |text: &str| if package.normalized { normalized(text) } else { text.to_owned() };
    let names: Vec<String> =
        found.iter().filter(|(name, _)| *name == "x").map(|(_, text)| spelled(text)).collect();
    let is_among = |listed: &[String]| {
        listed.iter().map(|name| spelled(name)).any(|name| match name.strip_suffix('*') {
            Some(start) => names[0].starts_with(start),
            None => names[0] == name,
        })
    };
    let is_locked = |registry| locked.of(registry).contains(&names[0]);
    let is_named = packages.is_none_or(|packages| match (&packages.names, packages.from_lockfiles) {
        (None, None) => true,
        (listed, registry) => listed.as_deref().is_some_and(is_among) || registry.is_some_and(is_locked),
    });
    let is_version =
        |text: &str| text.trim_start_matches('v').starts_with(|letter: char| letter.is_ascii_digit());
    is_named
        && names.iter().all(|name| *name == names[0])
        && found.iter().all(|(name, text)| !text.contains('%') && (*name != "version" || is_version(text)))
}

fn has_body(body: Option<&Body>, bytes: &[u8]) -> bool {
    let Some(body) = body else { return bytes.is_empty() };
    let Some(json) = &body.json else { return bytes.len() as u64 <= body.max.0.parse().unwrap() };
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return false };
    bytes.len() as u64 <= body.max.0.parse().unwrap()
        && json.required.iter().all(|key| document.get(key).is_some())
        && json.forbidden.iter().all(|key| document.get(key).is_none())
        && json.values.iter().all(|values| {
            let there = match values.at.split_once("[].") {
                None => document.get(&values.at).into_iter().collect(),
                Some((list, key)) => match document.get(list) {
                    Some(Value::Array(elements)) => {
                        elements.iter().filter_map(|element| element.get(key)).collect()
                    }
                    Some(one) => one.get(key).into_iter().collect::<Vec<_>>(),
                    None => vec![],
                },
            };
            there.into_iter().all(|value| values.any_of.iter().any(|text| is_text(value, text)))
        })
}

fn is_text(value: &Value, allowed: &str) -> bool {
    match (value, allowed.strip_suffix('*')) {
        (Value::String(text), Some(start)) => text.starts_with(start),
        (Value::String(text), None) => text == allowed,
        (Value::Bool(is), None) => is.to_string() == allowed,
        _ => false,
    }
}

/// Tries each way in which a pattern's placeholders can stand for something, the shortest first: what they stand for.
fn stands<'a>(pattern: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    const DOUBTFUL: [&str; 7] = ["%2F", "%5C", "%23", "%3F", "%25", "%3B", ";"];
    let is_clear = |text: &str| !DOUBTFUL.iter().any(|doubtful| text.contains(doubtful));
    if let Some(folder) = pattern.strip_suffix("/**") {
        let mut rests = path.match_indices('/').map(|(place, _)| path.split_at(place)).chain([(path, "")]);
        return rests.find_map(|(begin, rest)| stands(folder, begin).filter(|_| is_clear(rest)));
    }
    let Some((literal, rest)) = pattern.split_once('{') else { return (pattern == path).then(Vec::new) };
    let (name, after) = rest.split_once('}').unwrap();
    let path = path.strip_prefix(literal)?;
    let end = path.find('/').unwrap_or(path.len());
    let ways = path.char_indices().map(|(place, _)| place).chain([path.len()]);
    ways.filter(|place| (1..=end).contains(place)).map(|place| path.split_at(place)).find_map(
        |(text, rest)| {
            let further = stands(after, rest).filter(|_| is_clear(text))?;
            Some([(name, text)].into_iter().chain(further).collect())
        },
    )
}
