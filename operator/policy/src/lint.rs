//! What an admin should know of a rule before others use it. A warning is no error: the rule does what it says.

use serde::Serialize;
use ws_api::egress::{EgressRule, Packages, Requests};

use crate::pattern::REST;

/// Hosts at which anybody may have an account or a bucket, by the end of their name.
const SHARED: &[&str] = &[
    "amazonaws.com",
    "blob.core.windows.net",
    "bitbucket.org",
    "github.com",
    "githubusercontent.com",
    "gitlab.com",
    "googleapis.com",
    "huggingface.co",
    "pages.dev",
    "r2.cloudflarestorage.com",
    "vercel.app",
    "workers.dev",
];

/// What marks a header that carries a credential.
const CREDENTIALS: &[&str] = &["api-key", "apikey", "auth", "secret", "session", "token"];

const READING: &[&str] = &["GET", "HEAD", "OPTIONS"];

/// A warning about a rule.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    pub rule: String,
    pub what: String,
}

/// Looks at rules that are written out ([`crate::expand`]).
pub fn lint(rules: &[EgressRule]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let others = rules.get(..index).unwrap_or_default();
        let found = of_rule(rule).into_iter().chain(overlaps(rule, others));
        warnings.extend(found.map(|what| Warning { rule: rule.name.clone(), what }));
    }
    warnings
}

fn of_rule(rule: &EgressRule) -> Vec<String> {
    let hosts = rule.hosts.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    if rule.passthrough.is_some() {
        found.push("nobody looks into its connections: whoever controls a workspace may send anything to it, up to the budget".to_owned());
    }
    let allow = rule.allow.as_deref().unwrap_or_default();
    let shared = hosts.iter().find(|host| is_shared(host));
    if let Some(host) = shared.filter(|_| rule.credential.is_none() && allow.iter().any(writes)) {
        found.push(format!(
            "anybody may have an account at {host}, and it takes writes without a credential of yours"
        ));
    }
    for requests in allow {
        found.extend(requests.headers.iter().filter(|header| is_credential(&header.name)).map(|header| {
            format!(
                "the workspace may send its own {}, and so choose the account that it writes to",
                header.name
            )
        }));
        if requests.query.iter().any(|name| name == "*") {
            found.push(format!("a query may carry anything to {}", requests.paths.join(", ")));
        }
        if writes(requests) && requests.paths.iter().any(|path| path.ends_with("/**")) {
            found.push(format!("it takes writes everywhere below {}", requests.paths.join(", ")));
        }
    }
    if !holds_names(rule.packages.as_ref()) && allow.iter().any(is_of_modules) {
        found.push("a module's name says from where it is fetched: without `packages` that name some, a workspace may have any host asked, with anything in the name".to_owned());
    }
    if rule.scheme == Some(ws_api::egress::Scheme::Http) {
        found.push("whoever is on the way reads and changes what is sent: it is plain http".to_owned());
    }
    found
}

/// What another rule lets through to a host counts also where this one says no.
fn overlaps(rule: &EgressRule, others: &[EgressRule]) -> Option<String> {
    let hosts = rule.hosts.as_deref().unwrap_or_default();
    let named = |other: &EgressRule| {
        hosts.iter().find(|host| other.hosts.iter().flatten().any(|named| named == *host)).cloned()
    };
    let (other, host) = others.iter().find_map(|other| Some((other, named(other)?)))?;
    Some(format!("rule \"{}\" names {host} as well: what either of them allows is allowed", other.name))
}

fn is_shared(host: &str) -> bool {
    SHARED.iter().any(|end| host == *end || host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
}

fn is_credential(header: &str) -> bool {
    CREDENTIALS.iter().any(|mark| header.contains(mark))
}

fn holds_names(packages: Option<&Packages>) -> bool {
    packages.is_some_and(|packages| packages.names.is_some() || packages.from_lockfiles.is_some())
}

/// Whether packages have paths for names, which begin with a host as Go's do (<https://go.dev/ref/mod#module-path>).
fn is_of_modules(requests: &Requests) -> bool {
    let name = requests.package.as_ref().and_then(|package| package.name.as_ref());
    name.is_some_and(|name| name.contains(REST))
}

fn writes(requests: &Requests) -> bool {
    requests.methods.iter().any(|method| !READING.contains(&method.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{expand::expand, preset::Preset};

    fn warnings(rules: Value) -> Vec<String> {
        let rules: Vec<EgressRule> = serde_json::from_value(rules).unwrap();
        let rules: Vec<_> = rules.iter().map(|rule| expand(rule).unwrap()).collect();
        lint(&rules).into_iter().map(|warning| format!("{}: {}", warning.rule, warning.what)).collect()
    }

    #[test]
    fn a_preset_with_a_credential_warns_of_nothing() {
        for name in Preset::names() {
            let mut rule = json!({"name": name, "preset": name, "hosts": ["a.example"], "repositories": ["acme/shop"],
                "credential": {"secretName": "s", "key": "k"}});
            if name == "go" {
                assert!(warnings(json!([rule]))[0].contains("any host asked"));
                rule["packages"] = json!({"names": ["acme.example/*"]});
            }
            assert_eq!(warnings(json!([rule])), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn what_is_risky_is_named() {
        let get = json!({"methods": ["GET"], "paths": ["/"]});
        for (rule, expected) in [
            (
                json!({"name": "r", "hosts": ["gist.github.com"], "allow": [{"methods": ["POST"], "paths": ["/x"]}]}),
                "r: anybody may have an account at gist.github.com, and it takes writes without a credential of yours",
            ),
            (
                json!({"name": "r", "hosts": ["a.example"], "allow": [{"methods": ["GET"], "paths": ["/"], "headers": [{"name": "x-api-key"}]}]}),
                "r: the workspace may send its own x-api-key, and so choose the account that it writes to",
            ),
            (
                json!({"name": "r", "hosts": ["a.example"], "allow": [{"methods": ["GET"], "paths": ["/s"], "query": ["*"]}]}),
                "r: a query may carry anything to /s",
            ),
            (
                json!({"name": "r", "hosts": ["a.example"], "allow": [{"methods": ["PUT"], "paths": ["/**"]}]}),
                "r: it takes writes everywhere below /**",
            ),
            (
                json!({"name": "r", "hosts": ["a.example"], "scheme": "http", "allow": [get]}),
                "r: whoever is on the way reads and changes what is sent: it is plain http",
            ),
            (
                json!({"name": "r", "hosts": ["a.example"], "passthrough": {"acknowledged": "uninspected"}, "budget": {"upload": "1Mi"}}),
                "r: nobody looks into its connections: whoever controls a workspace may send anything to it, up to the budget",
            ),
        ] {
            assert_eq!(warnings(json!([rule])), [expected]);
        }
        let rule = |name: &str| json!({"name": name, "hosts": ["a.example"], "allow": [get]});
        let both = "b: rule \"a\" names a.example as well: what either of them allows is allowed";
        assert_eq!(warnings(json!([rule("a"), rule("b")])), [both]);
        assert_eq!(
            warnings(
                json!([{"name": "r", "hosts": ["notgithub.com"], "allow": [{"methods": ["POST"], "paths": ["/x"]}]}])
            ),
            Vec::<String>::new()
        );
    }
}
