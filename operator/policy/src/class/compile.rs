//! From what an admin wrote to what requests are judged by.

use std::{collections::HashMap, fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use ws_api::{
    egress::{self, Egress, EgressRule, Scheme},
    names::ClassName,
};

use super::{Access, ClassPolicy, Credential, MAX_RULES, Picked, Rule, quantity::bytes};
use crate::{expand::expand, host::Host, preset::Preset};

mod requests;

pub use requests::MAX_INSPECTED;
use requests::{Gate, allowance, header_name};

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
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    for written in &egress.rules {
        let compiled = if rules.iter().any(|rule| rule.name == written.name) {
            Err("another rule has this name".to_owned())
        } else {
            rule(written)
        };
        match compiled {
            Ok(rule) => rules.push(rule.into()),
            Err(what) => problems.push(Problem { rule: Some(written.name.clone()), what }),
        }
    }
    let mut of_class = |what: String| problems.push(Problem { rule: None, what });
    if egress.rules.len() > MAX_RULES {
        of_class(format!("a class has at most {MAX_RULES} egress rules"));
    }
    let limits = egress.budget.as_ref().map(shared).transpose();
    let upload = limits.map_err(&mut of_class).unwrap_or_default().flatten();
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
    Ok(ClassPolicy { class, rules, by_host, upload })
}

fn rule(written: &EgressRule) -> Result<Rule, String> {
    let preset = written.preset.as_ref().and_then(|name| Some((name, Preset::named(name)?)));
    // Without a credential to put in, a placeholder would only hide that there is none.
    let environment = preset.as_ref().filter(|_| written.credential.is_some());
    let environment = environment.map(|(_, preset)| preset.environment.clone()).unwrap_or_default();
    let preset = preset.map(|(name, preset)| (name.clone(), preset.version));
    let full = expand(written)?;
    let (hosts, scheme, ports) = destinations(&full)?;
    let access = access(&full)?;
    let credential = full.credential.as_ref().map(credential).transpose()?;
    let limits = full.budget.as_ref().map(budget).transpose()?.unwrap_or_default();
    match &access {
        Access::Uninspected => can_pass_through(credential.as_ref(), limits)?,
        Access::Requests(_) if credential.is_some() && scheme == Scheme::Http && full.service.is_none() => {
            return Err("a credential is sent over https only".to_owned());
        }
        Access::Requests(_) => {}
    }
    let Limits { upload, request, not_found } = limits;
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

fn access(full: &EgressRule) -> Result<Access, String> {
    let allow = match (&full.passthrough, &full.allow) {
        (Some(_), None) => return Ok(Access::Uninspected),
        (None, Some(allow)) if !allow.is_empty() => allow,
        _ => return Err("say what is allowed: `allow`, a `preset`, or `passthrough`".to_owned()),
    };
    let packages = full.packages.as_ref().map(Gate::of);
    let compiled = allow.iter().map(|requests| allowance(requests, packages.as_ref()).map(Arc::new));
    let allowances: Vec<_> = compiled.collect::<Result<_, _>>()?;
    if packages.is_some() && allowances.iter().all(|allowance| allowance.package.is_none()) {
        return Err("nothing that it allows says where packages are: leave `packages` out".to_owned());
    }
    Ok(Access::Requests(allowances))
}

/// What nobody looks into: not where one request ends, nor what is answered.
fn can_pass_through(credential: Option<&Credential>, limits: Limits) -> Result<(), String> {
    let Limits { upload, request, not_found } = limits;
    if credential.is_some() {
        return Err("nothing can be put into what is passed through: leave the credential out".to_owned());
    }
    if upload.is_none() {
        return Err("what is passed through has a `budget.upload`".to_owned());
    }
    if request.is_some() || not_found.is_some() {
        return Err("the requests of what is passed through are not seen: leave `budget.request` and \
                    `budget.notFound` out"
            .to_owned());
    }
    Ok(())
}

fn destinations(full: &EgressRule) -> Result<(Vec<String>, Scheme, Vec<u16>), String> {
    if let Some(service) = &full.service {
        let egress::Service { namespace, name, port } = service;
        let host = format!("{name}.{namespace}.svc");
        let is_exact = Host::parse(&host).is_ok_and(|parsed| parsed.as_str() == host);
        if !is_exact || name.contains('.') || namespace.contains('.') {
            return Err(format!("\"{name}\" in \"{namespace}\" is not a valid name of a service"));
        }
        return Ok((vec![host], Scheme::Http, vec![*port]));
    }
    let hosts = full.hosts.clone().filter(|hosts| !hosts.is_empty()).ok_or("name its `hosts`")?;
    for host in &hosts {
        let is_exact = Host::parse(host).is_ok_and(|parsed| parsed.as_str() == host && !parsed.is_address());
        if !is_exact || !host.contains('.') {
            return Err(format!("\"{host}\" is not a valid host: write an exact name in lower case"));
        }
    }
    Ok((hosts, full.scheme.unwrap_or_default(), full.ports.clone().unwrap_or_default()))
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

/// The bytes that rules without a budget of their own share. One request and its answer are one rule's.
fn shared(written: &egress::Budget) -> Result<Option<u64>, String> {
    let Limits { upload, request, not_found } = budget(written)?;
    let beside = [("request", request.is_some()), ("notFound", not_found.is_some())];
    match beside.iter().find(|(_, is_said)| *is_said) {
        Some((member, _)) => {
            Err(format!("the class's budget is an `upload` alone: say `{member}` in the budgets of rules"))
        }
        None => Ok(upload),
    }
}

fn whole(quantity: &Quantity) -> Result<u64, String> {
    bytes(quantity)
        .ok_or_else(|| format!("\"{}\" is not a valid number of bytes, as 64Ki or 256Mi are", quantity.0))
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
            (
                json!({"hosts": ["A.example"]}),
                "\"A.example\" is not a valid host: write an exact name in lower case",
            ),
            (
                json!({"hosts": ["*.example"]}),
                "\"*.example\" is not a valid host: write an exact name in lower case",
            ),
            (
                json!({"hosts": ["a.example."]}),
                "\"a.example.\" is not a valid host: write an exact name in lower case",
            ),
            (
                json!({"hosts": ["localhost"]}),
                "\"localhost\" is not a valid host: write an exact name in lower case",
            ),
            (
                json!({"hosts": ["10.0.0.1"]}),
                "\"10.0.0.1\" is not a valid host: write an exact name in lower case",
            ),
            (
                json!({"hosts": ["0x7f.1"]}),
                "\"0x7f.1\" is not a valid host: write an exact name in lower case",
            ),
            (json!({"hosts": []}), "name its `hosts`"),
            (
                json!({"hosts": null, "service": {"namespace": "m", "name": "O", "port": 80}}),
                "\"O\" in \"m\" is not a valid name of a service",
            ),
            (json!({"allow": []}), "say what is allowed: `allow`, a `preset`, or `passthrough`"),
            (json!({"scheme": "http", "credential": secret}), "a credential is sent over https only"),
            (
                json!({"credential": {"secretName": "s", "key": "k", "header": "host"}}),
                "header host cannot be passed on",
            ),
            (
                json!({"budget": {"upload": "1.5Mi"}}),
                "\"1.5Mi\" is not a valid number of bytes, as 64Ki or 256Mi are",
            ),
            (requests(json!({"methods": ["CONNECT"]})), "method CONNECT cannot be allowed"),
            (requests(json!({"methods": ["TRACE"]})), "method TRACE cannot be allowed"),
            (requests(json!({"paths": ["/a/../b"]})), "path \"/a/../b\": the path has a segment `.` or `..`"),
            (requests(json!({"query": ["a=b&c"]})), "query \"a=b&c\" is not a valid `name` or `name=value`"),
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
                "`a[0]` is not a valid place in a document: write `key`, `key.key` or `key[].key`",
            ),
            (
                requests(json!({"body": {"max": "33Mi", "json": {"required": ["a"]}}})),
                "a body that is looked into has at most 32Mi",
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
        for budget in [json!({"upload": "1Mi", "request": "4Ki"}), json!({"upload": "1Mi", "notFound": 5})] {
            let said = rule(json!({"budget": budget}));
            assert!(said.ends_with("leave `budget.request` and `budget.notFound` out"), "{budget}: {said}");
        }
        assert!(rule(json!({})).ends_with("what is passed through has a `budget.upload`"));
        let with_credential =
            rule(json!({"budget": {"upload": "1Mi"}, "credential": {"secretName": "s", "key": "k"}}));
        assert!(with_credential.ends_with("leave the credential out"), "{with_credential}");
        assert!(
            rule(json!({"allow": [{"methods": ["GET"], "paths": ["/"]}]})).contains("say what is allowed")
        );
    }

    #[test]
    fn what_a_class_has_no_budget_for_is_said_in_rules() {
        let rule = json!({"name": "a", "hosts": ["a.example"], "allow": [{"methods": ["GET"], "paths": ["/"]}],
            "budget": {"request": "4Ki", "notFound": 5}});
        let with = |budget: Value| problems(json!({"rules": [rule], "budget": budget}));
        assert_eq!(with(json!({"upload": "1Mi"})), Vec::<String>::new());
        for (budget, member) in
            [(json!({"request": "4Ki"}), "request"), (json!({"upload": "1Mi", "notFound": 5}), "notFound")]
        {
            let expected =
                format!("the class's budget is an `upload` alone: say `{member}` in the budgets of rules");
            assert_eq!(with(budget), [expected]);
        }
    }

    #[test]
    fn all_problems_of_a_class_are_said_at_once() {
        let rule = |name: &str, host: &str| json!({"name": name, "hosts": [host], "allow": [{"methods": ["GET"], "paths": ["/"]}]});
        let egress = json!({"rules": [rule("a", "x"), rule("b", "b.example"), rule("b", "c.example")], "budget": {"upload": "much"}});
        assert_eq!(
            problems(egress),
            [
                "egress rule \"a\": \"x\" is not a valid host: write an exact name in lower case",
                "egress rule \"b\": another rule has this name",
                "\"much\" is not a valid number of bytes, as 64Ki or 256Mi are",
            ]
        );
    }
}
