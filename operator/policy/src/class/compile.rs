//! From what an admin wrote to what requests are judged by.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc, time::Duration};

use http::{HeaderName, Method};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use ws_api::{
    egress::{self, Egress, EgressRule, Requests, Scheme},
    names::ClassName,
};

use super::{
    Access, Allowance, BodyRule, ClassPolicy, Credential, HeaderRule, MAX_RULES, PackageRule, Picked,
    QueryRule, Rule, quantity::bytes,
};
use crate::{
    expand::expand,
    host::Host,
    json::JsonRule,
    package::{PackageName, normalized},
    path::Query,
    pattern::PathPattern,
    preset::Preset,
};

/// Headers that a rule cannot pass on: they carry credentials, or say how the message itself is carried.
const NEVER_PASSED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// The most that a message of a WebSocket may have, in bytes: it has to be there whole.
const MAX_MESSAGE: u64 = 16 << 20;

/// Why a class cannot be used as it is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// None: the class itself.
    pub rule: Option<String>,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "egress rule \"{rule}\": {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

pub fn class(class: ClassName, egress: &Egress) -> Result<ClassPolicy, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    for written in &egress.rules {
        let compiled = if rules.iter().any(|rule| rule.name == written.name) {
            Err("another rule has this name".to_owned())
        } else {
            rule(written)
        };
        match compiled {
            Ok(rule) => rules.push(rule),
            Err(what) => problems.push(Problem { rule: Some(written.name.clone()), what }),
        }
    }
    let mut of_class = |what: String| problems.push(Problem { rule: None, what });
    if egress.rules.len() > MAX_RULES {
        of_class(format!("a class has at most {MAX_RULES} egress rules"));
    }
    let budget = egress.budget.as_ref().map(budget).transpose();
    let limits = budget.map_err(&mut of_class).unwrap_or_default().unwrap_or_default();
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut by_host: HashMap<String, Picked> = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        for host in &rule.hosts {
            let picked = by_host.entry(host.clone()).or_default();
            *picked = picked.or(Picked::of(std::iter::once(index)));
        }
    }
    Ok(ClassPolicy { class, rules, by_host, upload: limits.upload })
}

fn rule(written: &EgressRule) -> Result<Rule, String> {
    let preset = written.preset.as_ref().and_then(|name| Some((name, Preset::named(name)?.ok()?)));
    // Without a credential to put in, a placeholder would only hide that there is none.
    let environment = preset.as_ref().filter(|_| written.credential.is_some());
    let environment = environment.map(|(_, preset)| preset.environment.clone()).unwrap_or_default();
    let preset = preset.map(|(name, preset)| (name.clone(), preset.version));
    let full = expand(written)?;
    let (hosts, scheme, ports) = destinations(&full)?;
    let access = match (&full.passthrough, &full.allow) {
        (Some(_), None) => Access::Uninspected,
        (None, Some(allow)) if !allow.is_empty() => {
            let packages = full.packages.as_ref().map(Gate::of);
            let allowances: Vec<_> = allow
                .iter()
                .map(|requests| allowance(requests, packages.as_ref()))
                .collect::<Result<_, _>>()?;
            if packages.is_some() && allowances.iter().all(|allowance| allowance.package.is_none()) {
                return Err("nothing that it allows says where packages are: leave `packages` out".to_owned());
            }
            Access::Requests(allowances)
        }
        _ => return Err("say what is allowed: `allow`, a `preset`, or `passthrough`".to_owned()),
    };
    let credential = full.credential.as_ref().map(credential).transpose()?;
    let Limits { upload, request, not_found } =
        full.budget.as_ref().map(budget).transpose()?.unwrap_or_default();
    match (&access, &credential) {
        (Access::Uninspected, Some(_)) => {
            return Err("nothing can be put into what is passed through: leave the credential out".to_owned());
        }
        (Access::Uninspected, None) if upload.is_none() => {
            return Err("what is passed through has a `budget.upload`".to_owned());
        }
        (_, Some(_)) if scheme == Scheme::Http && full.service.is_none() => {
            return Err("a credential is sent over https only".to_owned());
        }
        _ => {}
    }
    let is_service = full.service.is_some();
    Ok(Rule {
        name: full.name,
        preset,
        hosts,
        scheme,
        ports,
        is_service,
        access,
        credential,
        environment,
        upload,
        request,
        not_found,
    })
}

fn destinations(full: &EgressRule) -> Result<(Vec<String>, Scheme, Vec<u16>), String> {
    if let Some(service) = &full.service {
        let egress::Service { namespace, name, port } = service;
        let host = format!("{name}.{namespace}.svc");
        let is_exact = Host::parse(&host).is_ok_and(|parsed| parsed.as_str() == host);
        if !is_exact || name.contains('.') || namespace.contains('.') {
            return Err(format!("\"{name}\" in \"{namespace}\" is no name of a service"));
        }
        return Ok((vec![host], Scheme::Http, vec![*port]));
    }
    let hosts = full.hosts.clone().filter(|hosts| !hosts.is_empty()).ok_or("name its `hosts`")?;
    for host in &hosts {
        let is_exact = Host::parse(host).is_ok_and(|parsed| parsed.as_str() == host && !parsed.is_address());
        if !is_exact || !host.contains('.') {
            return Err(format!("\"{host}\" is no exact host name in lower case"));
        }
    }
    Ok((hosts, full.scheme.unwrap_or_default(), full.ports.clone().unwrap_or_default()))
}

/// What holds for the packages of a rule.
struct Gate {
    names: Option<Arc<[String]>>,
    minimum_age: Option<Duration>,
}

impl Gate {
    fn of(written: &egress::Packages) -> Self {
        let names = written.names.as_deref().map(Arc::from);
        Self { names, minimum_age: written.minimum_age.map(Into::into) }
    }
}

fn allowance(written: &Requests, packages: Option<&Gate>) -> Result<Allowance, String> {
    let method = |method: &String| match method.as_str() {
        "CONNECT" | "TRACE" => Err(format!("method {method} cannot be allowed")),
        method => Method::from_str(method).map_err(|_| format!("\"{method}\" is no method")),
    };
    let path = |path: &String| path.parse().map_err(|error| format!("path \"{path}\": {error}"));
    let paths: Vec<PathPattern> = written.paths.iter().map(path).collect::<Result<_, _>>()?;
    let package = written.package.as_ref().map(|asked| package(asked, &paths, packages)).transpose()?;
    Ok(Allowance {
        methods: written.methods.iter().map(method).collect::<Result<_, _>>()?,
        paths,
        query: query(&written.query)?,
        headers: written.headers.iter().map(header).collect::<Result<_, _>>()?,
        body: written.body.as_ref().map(body).transpose()?,
        package: package.flatten(),
        web_socket: written.web_socket.as_ref().map(|socket| web_socket(socket, written)).transpose()?,
    })
}

fn package(
    asked: &egress::Package,
    paths: &[PathPattern],
    gate: Option<&Gate>,
) -> Result<Option<PackageRule>, String> {
    let name: Option<PackageName> =
        asked.name.as_ref().map(|name| name.parse()).transpose().map_err(|error| format!("{error}"))?;
    if let Some((name, path)) =
        name.as_ref().and_then(|name| Some((name, paths.iter().find(|path| !name.fits(path))?)))
    {
        return Err(format!("path \"{path}\" does not hold what package name \"{name}\" is made of"));
    }
    let names = |gate: &Gate| match gate.names.clone() {
        Some(names) if asked.normalized => Some(names.iter().map(|name| normalized(name)).collect()),
        names => names,
    };
    Ok(gate.map(|gate| PackageRule {
        names: name.zip(names(gate)),
        is_normalized: asked.normalized,
        minimum_age: gate.minimum_age.filter(|_| asked.version),
    }))
}

fn web_socket(socket: &egress::WebSocket, written: &Requests) -> Result<u64, String> {
    if written.methods != ["GET"] || written.body.is_some() {
        return Err("a WebSocket is opened with GET and without a body".to_owned());
    }
    let max = whole(&socket.max_message)?;
    if max > MAX_MESSAGE {
        return Err(format!("a message of a WebSocket has at most {MAX_MESSAGE} bytes"));
    }
    Ok(max)
}

fn query(written: &[String]) -> Result<QueryRule, String> {
    if written.iter().any(|name| name == "*") {
        return Ok(QueryRule::Any);
    }
    let parameter = |parameter: &String| {
        let parsed = Query::parse(parameter).map_err(|error| format!("query \"{parameter}\": {error}"))?;
        match parsed.pairs() {
            [pair] if parsed.to_string() == *parameter => Ok(pair.clone()),
            _ => Err(format!("query \"{parameter}\" is no `name` or `name=value`")),
        }
    };
    Ok(QueryRule::Only(written.iter().map(parameter).collect::<Result<_, _>>()?))
}

fn header(written: &egress::Header) -> Result<HeaderRule, String> {
    Ok(HeaderRule { name: header_name(&written.name)?, values: written.values.clone() })
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    if NEVER_PASSED.contains(&name) {
        return Err(format!("header {name} cannot be passed on"));
    }
    HeaderName::from_str(name).map_err(|_| format!("\"{name}\" is no header"))
}

fn body(written: &egress::Body) -> Result<BodyRule, String> {
    let json = written.json.as_ref().map(JsonRule::compile).transpose().map_err(|error| error.to_string())?;
    Ok(BodyRule { max: whole(&written.max)?, json })
}

fn credential(full: &egress::Credential) -> Result<Credential, String> {
    let header = full.header.as_deref().unwrap_or_default();
    // The one of those that are never passed on that may carry ws' own.
    let header = if header == "authorization" { http::header::AUTHORIZATION } else { header_name(header)? };
    Ok(Credential {
        secret_name: full.secret_name.clone(),
        key: full.key.clone(),
        header,
        prefix: full.prefix.clone().unwrap_or_default(),
    })
}

/// A budget in bytes and answers.
#[derive(Clone, Copy, Default)]
struct Limits {
    upload: Option<u64>,
    request: Option<u64>,
    not_found: Option<u64>,
}

fn budget(written: &egress::Budget) -> Result<Limits, String> {
    let whole = |quantity: &Option<Quantity>| quantity.as_ref().map(whole).transpose();
    let not_found = written.not_found.map(|answers| u64::try_from(answers).unwrap_or_default());
    Ok(Limits { upload: whole(&written.upload)?, request: whole(&written.request)?, not_found })
}

fn whole(quantity: &Quantity) -> Result<u64, String> {
    bytes(quantity).ok_or_else(|| format!("\"{}\" is no number of bytes, as 64Ki or 256Mi are", quantity.0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(egress: Value) -> Vec<String> {
        let egress: Egress = serde_json::from_value(egress).unwrap();
        let compiled = class("default".parse().unwrap(), &egress);
        compiled.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    /// The problem of a rule for `a.example` with these members beside.
    fn problem(members: &Value) -> String {
        let mut rule =
            json!({"name": "r", "hosts": ["a.example"], "allow": [{"methods": ["GET"], "paths": ["/"]}]});
        for (name, value) in members.as_object().unwrap() {
            rule[name] = value.clone();
        }
        problems(json!({"rules": [rule]})).join("; ").replace("egress rule \"r\": ", "")
    }

    #[test]
    fn every_preset_compiles() {
        for name in Preset::names() {
            let rule = json!({"name": name, "preset": name, "hosts": ["a.example"], "repositories": ["acme/shop"],
                "credential": {"secretName": "s", "key": "k"}});
            assert_eq!(problems(json!({"rules": [rule]})), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn what_a_rule_cannot_say_is_a_problem() {
        let requests = |members: Value| {
            let mut requests = json!({"methods": ["GET"], "paths": ["/"]});
            for (name, value) in members.as_object().unwrap() {
                requests[name] = value.clone();
            }
            json!({"allow": [requests]})
        };
        let secret = json!({"secretName": "s", "key": "k"});
        for (members, expected) in [
            (json!({}), ""),
            (json!({"hosts": ["A.example"]}), "\"A.example\" is no exact host name in lower case"),
            (json!({"hosts": ["*.example"]}), "\"*.example\" is no exact host name in lower case"),
            (json!({"hosts": ["a.example."]}), "\"a.example.\" is no exact host name in lower case"),
            (json!({"hosts": ["localhost"]}), "\"localhost\" is no exact host name in lower case"),
            (json!({"hosts": ["10.0.0.1"]}), "\"10.0.0.1\" is no exact host name in lower case"),
            (json!({"hosts": ["0x7f.1"]}), "\"0x7f.1\" is no exact host name in lower case"),
            (json!({"hosts": []}), "name its `hosts`"),
            (
                json!({"hosts": null, "service": {"namespace": "m", "name": "O", "port": 80}}),
                "\"O\" in \"m\" is no name of a service",
            ),
            (json!({"allow": []}), "say what is allowed: `allow`, a `preset`, or `passthrough`"),
            (json!({"scheme": "http", "credential": secret}), "a credential is sent over https only"),
            (
                json!({"credential": {"secretName": "s", "key": "k", "header": "host"}}),
                "header host cannot be passed on",
            ),
            (json!({"budget": {"upload": "1.5Mi"}}), "\"1.5Mi\" is no number of bytes, as 64Ki or 256Mi are"),
            (requests(json!({"methods": ["CONNECT"]})), "method CONNECT cannot be allowed"),
            (requests(json!({"methods": ["TRACE"]})), "method TRACE cannot be allowed"),
            (requests(json!({"paths": ["/a/../b"]})), "path \"/a/../b\": the path has a segment `.` or `..`"),
            (requests(json!({"query": ["a=b&c"]})), "query \"a=b&c\" is no `name` or `name=value`"),
            (
                requests(json!({"headers": [{"name": "authorization"}]})),
                "header authorization cannot be passed on",
            ),
            (
                requests(json!({"headers": [{"name": "x-http-method-override"}]})),
                "header x-http-method-override cannot be passed on",
            ),
            (
                requests(json!({"body": {"max": "1Mi", "json": {"forbidden": ["a[0]"]}}})),
                "`a[0]` is no place in a document: write `key`, `key.key` or `key[].key`",
            ),
        ] {
            assert_eq!(problem(&members), expected, "{members}");
        }
    }

    #[test]
    fn what_is_passed_through_is_acknowledged_budgeted_and_without_credential() {
        let rule = |members: Value| {
            let mut rule =
                json!({"name": "r", "hosts": ["a.example"], "passthrough": {"acknowledged": "uninspected"}});
            for (name, value) in members.as_object().unwrap() {
                rule[name] = value.clone();
            }
            problems(json!({"rules": [rule]})).join("; ")
        };
        assert_eq!(rule(json!({"budget": {"upload": "1Mi"}})), "");
        assert!(rule(json!({})).ends_with("what is passed through has a `budget.upload`"));
        let with_credential =
            rule(json!({"budget": {"upload": "1Mi"}, "credential": {"secretName": "s", "key": "k"}}));
        assert!(with_credential.ends_with("leave the credential out"), "{with_credential}");
        assert!(
            rule(json!({"allow": [{"methods": ["GET"], "paths": ["/"]}]})).contains("say what is allowed")
        );
    }

    #[test]
    fn all_problems_of_a_class_are_said_at_once() {
        let rule = |name: &str, host: &str| json!({"name": name, "hosts": [host], "allow": [{"methods": ["GET"], "paths": ["/"]}]});
        let egress = json!({"rules": [rule("a", "x"), rule("b", "b.example"), rule("b", "c.example")], "budget": {"upload": "much"}});
        assert_eq!(
            problems(egress),
            [
                "egress rule \"a\": \"x\" is no exact host name in lower case",
                "egress rule \"b\": another rule has this name",
                "\"much\" is no number of bytes, as 64Ki or 256Mi are",
            ]
        );
    }
}
