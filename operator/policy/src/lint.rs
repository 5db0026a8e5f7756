//! What an admin should know of a rule before others use it. A warning is no error: the rule does what it says.

use serde::Serialize;
use ws_api::egress::{EgressRule, Packages, Requests};

use crate::{expand::MODEL, pattern::REST};

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

/// Parameters that do, with `-` for `_`.
const CREDENTIAL_PARAMETERS: &[&str] = &[
    "access-token",
    "api-key",
    "apikey",
    "auth",
    "awsaccesskeyid",
    "key",
    "password",
    "secret",
    "session",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
];

/// Where a model's name can say more than which model: what a name may have, by the path of requests that only such servers know.
const TELLING_NAMES: &[(&str, &str)] = &[
    ("/api/chat", "Ollama runs some models in its maker's cloud (`…-cloud`)"),
    ("/api/v1/chat/completions", "OpenRouter searches the web for a name's end (`…:online`)"),
];

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
        found.extend(requests.query.iter().filter(|name| is_credential_parameter(name)).map(|name| {
            format!("the workspace may send its own `{name}` in the query, and so choose the account that it writes to")
        }));
        if requests.query.iter().any(|name| name == "*") {
            found.push(format!("a query may carry anything to {}", requests.paths.join(", ")));
        }
        if writes(requests) && requests.paths.iter().any(|path| path.ends_with("/**")) {
            found.push(format!("it takes writes everywhere below {}", requests.paths.join(", ")));
        }
    }
    if !holds_names(rule.packages.as_ref()) {
        if allow.iter().any(is_of_modules) {
            found.push("a module's name says from where it is fetched: without `packages` that name some, a workspace may have any host asked, with anything in the name".to_owned());
        } else if allow.iter().any(names_a_package) {
            found.push("it names no packages: a workspace may fetch any, also one that a model came up with, and ask for anything in the name".to_owned());
        }
    }
    found.extend(allow.iter().find_map(open_models));
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

/// Whether a workspace may give the parameter a value of its own, and that may be a credential.
fn is_credential_parameter(parameter: &str) -> bool {
    CREDENTIAL_PARAMETERS.contains(&parameter.to_ascii_lowercase().replace('_', "-").as_str())
}

/// What a workspace can have done by a model's name, where names are not exact.
fn open_models(requests: &Requests) -> Option<String> {
    let (_, what) =
        TELLING_NAMES.iter().find(|(path, _)| requests.paths.iter().any(|other| other == path))?;
    let json = requests.body.as_ref()?.json.as_ref();
    let models = json.and_then(|json| json.values.iter().rfind(|values| values.at == MODEL));
    let is_exact = models.is_some_and(|models| models.any_of.iter().all(|model| !model.ends_with('*')));
    (!is_exact).then(|| format!("{what}, and it does not name `models` exactly"))
}

fn holds_names(packages: Option<&Packages>) -> bool {
    packages.is_some_and(|packages| packages.names.is_some() || packages.from_lockfiles.is_some())
}

fn names_a_package(requests: &Requests) -> bool {
    requests.package.as_ref().is_some_and(|package| package.name.is_some())
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
            let mended = match name {
                "go" => Some(("any host asked", "packages", json!({"names": ["acme.example/*"]}))),
                "cargo" | "npm" | "pypi" => {
                    Some(("names no packages", "packages", json!({"fromLockfiles": name})))
                }
                "debian" => Some(("names no packages", "packages", json!({"names": ["libc6"]}))),
                "ollama" => Some(("maker's cloud", "models", json!(["gpt-oss:20b"]))),
                "openrouter" => Some(("searches the web", "models", json!(["openai/gpt-5", "z-ai/glm-4.6"]))),
                _ => None,
            };
            if let Some((warning, member, value)) = mended {
                assert!(matches!(&warnings(json!([rule]))[..], [only] if only.contains(warning)), "{name}");
                rule[member] = value;
            }
            assert_eq!(warnings(json!([rule])), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn a_model_that_is_not_named_exactly_is_named_where_its_name_says_more() {
        let of = |preset: &str, models: &[&str]| {
            let rule = json!({"name": "m", "preset": preset, "hosts": ["a.example"], "models": models});
            warnings(json!([rule])).len()
        };
        for (preset, exact, open) in
            [("ollama", "gpt-oss:20b", "gpt-oss:*"), ("openrouter", "openai/gpt-5", "openai/*")]
        {
            assert_eq!(of(preset, &[exact]), 0, "{preset}");
            assert_eq!(
                [of(preset, &[open]), of(preset, &[exact, open]), of(preset, &[])],
                [1; 3],
                "{preset}"
            );
        }
        assert_eq!(of("openai-compatible", &["gpt-*"]), 0, "whose names say no more");
    }

    #[test]
    fn packages_without_names_are_named() {
        let npm = |packages: Value| {
            warnings(json!([{"name": "n", "preset": "npm", "hosts": ["a.example"], "packages": packages}]))
        };
        let expected = "n: it names no packages: a workspace may fetch any, also one that a model came up with, and ask for anything in the name";
        for packages in [json!(null), json!({"minimumAge": "24h"})] {
            assert_eq!(npm(packages), [expected]);
        }
        for packages in [json!({"names": ["left-pad"]}), json!({"fromLockfiles": "npm"})] {
            assert_eq!(npm(packages), Vec::<String>::new());
        }
    }

    #[test]
    fn b16_a_credential_in_the_query_is_named() {
        let with = |query: &str| {
            warnings(json!([{"name": "r", "hosts": ["a.example"],
                "allow": [{"methods": ["GET"], "paths": ["/"], "query": [query]}]}]))
        };
        for query in [
            "key",
            "access_token",
            "token",
            "api_key",
            "auth",
            "API-Key",
            "X-Amz-Credential",
            "X-Amz-Signature",
            "AWSAccessKeyId",
            "Signature",
            "sig",
            "X-Goog-Credential",
            "X-Goog-Signature",
        ] {
            let expected = format!(
                "r: the workspace may send its own `{query}` in the query, and so choose the account that it writes to"
            );
            assert_eq!(with(query), [expected]);
        }
        for query in ["key=public", "author", "page", "signed"] {
            assert_eq!(with(query), Vec::<String>::new(), "{query}");
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
