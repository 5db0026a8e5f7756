use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::class::ClassPolicy;

fn class() -> ClassPolicy {
    let egress = json!({"rules": [
        {"name": "model", "hosts": ["api.example.com"], "credential": {"secretName": "model", "key": "key"}, "allow": [
            {"methods": ["POST"], "paths": ["/v1/messages"], "query": ["beta=true"], "body": {"max": "1Ki", "json": {"required": ["model"]}}},
            {"methods": ["GET"], "paths": ["/v1/models/{model}"], "query": ["limit", "by=a;b"]},
        ]},
        {"name": "docs", "hosts": ["docs.example.com", "www.example.com"], "allow": [{"methods": ["GET", "HEAD"], "paths": ["/**"], "query": ["*"]}]},
        {"name": "upload", "hosts": ["docs.example.com"], "allow": [{"methods": ["PUT"], "paths": ["/up/{file}"], "body": {"max": "4"}}]},
        {"name": "old", "hosts": ["old.example.com"], "scheme": "http", "ports": [80, 8080], "allow": [{"methods": ["GET"], "paths": ["/**"]}]},
        {"name": "local", "service": {"namespace": "models", "name": "ollama", "port": 11434},
            "allow": [{"methods": ["POST"], "paths": ["/api/chat"], "body": {"max": "1Mi"}}]},
        {"name": "vpn", "hosts": ["vpn.example.com"], "passthrough": {"acknowledged": "uninspected"}, "budget": {"upload": "1Mi"}},
        {"name": "crates", "preset": "cargo", "hosts": ["crates.example.com"]},
    ]});
    ClassPolicy::compile("default".parse().unwrap(), &serde_json::from_value(egress).unwrap()).unwrap()
}

fn policy(picks: Option<&[&str]>) -> Policy {
    let picks = picks.map(|picks| picks.iter().map(|pick| (*pick).to_owned()).collect::<Vec<_>>());
    Policy::of(Arc::new(class()), picks.as_deref())
}

fn request(method: &str, url: &str, body: Length) -> Request {
    Request::absolute(method.parse().unwrap(), &url.parse().unwrap(), body).unwrap()
}

/// The rule that allows a request, `body` if its body decides, or why it is denied.
fn verdict(policy: &Policy, request: &Request) -> Result<String, String> {
    match decide(policy, request) {
        Ok(Decision::Allowed(allowed)) => Ok(allowed.rule().name.clone()),
        Ok(Decision::NeedsBody(_)) => Ok("body".to_owned()),
        Err(denied) => Err(denied.to_string()),
    }
}

const REQUESTS: &[(&str, &str, Length)] = &[
    ("GET", "https://docs.example.com/", Length::None),
    ("HEAD", "https://www.example.com/a/b?c=d", Length::None),
    ("PUT", "https://docs.example.com/up/x", Length::Bytes(4)),
    ("PUT", "https://docs.example.com/up/x", Length::Unknown),
    ("GET", "http://old.example.com/x", Length::None),
    ("GET", "http://old.example.com:8080/x", Length::None),
    ("POST", "http://ollama.models.svc:11434/api/chat", Length::Unknown),
    ("POST", "https://api.example.com/v1/messages", Length::Bytes(10)),
    ("POST", "https://api.example.com/v1/messages?beta=true", Length::Unknown),
    ("GET", "https://api.example.com/v1/models/x", Length::None),
    ("GET", "https://api.example.com/v1/models/x?limit=1%3B2&by=a;b", Length::None),
    ("GET", "https://crates.example.com/se/rd/serde", Length::None),
];

#[test]
fn what_a_rule_names_is_allowed_by_it() {
    let rules = [
        "docs", "docs", "upload", "upload", "old", "old", "local", "body", "body", "model", "model", "crates",
    ];
    for ((method, url, body), rule) in REQUESTS.iter().zip(rules) {
        assert_eq!(
            verdict(&policy(None), &request(method, url, *body)).as_deref(),
            Ok(rule),
            "{method} {url}"
        );
    }
}

const DENIED: &[(&str, &str, Length, &str)] = &[
    (
        "GET",
        "https://evil.example.com/",
        Length::None,
        "evil.example.com denied: no egress rule of class \"default\" names it",
    ),
    (
        "GET",
        "https://example.com/",
        Length::None,
        "example.com denied: no egress rule of class \"default\" names it",
    ),
    (
        "GET",
        "https://a.docs.example.com/",
        Length::None,
        "a.docs.example.com denied: no egress rule of class \"default\" names it",
    ),
    (
        "GET",
        "https://20.0.113.66/",
        Length::None,
        "20.0.113.66 denied: it is an IP address, and egress rules name hosts",
    ),
    (
        "GET",
        "http://docs.example.com:443/",
        Length::None,
        "docs.example.com denied: rule \"docs\" is for https",
    ),
    (
        "GET",
        "http://docs.example.com/",
        Length::None,
        "docs.example.com denied: rule \"docs\" does not name port 80",
    ),
    (
        "GET",
        "https://docs.example.com:8443/",
        Length::None,
        "docs.example.com denied: rule \"docs\" does not name port 8443",
    ),
    (
        "GET",
        "https://old.example.com:80/",
        Length::None,
        "old.example.com denied: rule \"old\" is for plain http",
    ),
    (
        "POST",
        "https://docs.example.com/",
        Length::None,
        "docs.example.com denied: rule \"docs\" allows no request like POST /",
    ),
    (
        "PUT",
        "https://docs.example.com/up/x",
        Length::Bytes(5),
        "docs.example.com denied: rule \"upload\" allows a body of 4 bytes at most here",
    ),
    (
        "GET",
        "https://docs.example.com/x",
        Length::Bytes(1),
        "docs.example.com denied: rule \"docs\" allows no body here",
    ),
    (
        "GET",
        "https://docs.example.com/x",
        Length::Unknown,
        "docs.example.com denied: rule \"docs\" allows no body here",
    ),
    (
        "POST",
        "https://api.example.com/v1/files",
        Length::Bytes(1),
        "api.example.com denied: rule \"model\" allows no request like POST /v1/files",
    ),
    (
        "POST",
        "https://api.example.com/v1/messages/",
        Length::Bytes(1),
        "api.example.com denied: rule \"model\" allows no request like POST /v1/messages/",
    ),
    (
        "POST",
        "https://api.example.com/v1/messages?beta=1",
        Length::Bytes(1),
        "api.example.com denied: rule \"model\" allows no query with `beta` here",
    ),
    (
        "POST",
        "https://api.example.com/v1/messages?x=secret",
        Length::Bytes(1),
        "api.example.com denied: rule \"model\" allows no query with `x` here",
    ),
    (
        "GET",
        "https://api.example.com/v1/models/x?limit=1;all=1",
        Length::None,
        "api.example.com denied: rule \"model\" allows no query with `limit` here",
    ),
    (
        "POST",
        "https://api.example.com/v1/messages",
        Length::Bytes(1025),
        "api.example.com denied: rule \"model\" allows a body of 1024 bytes at most here",
    ),
    (
        "GET",
        "https://vpn.example.com/",
        Length::None,
        "vpn.example.com denied: rule \"vpn\" allows no request like GET /",
    ),
    (
        "PUT",
        "https://crates.example.com/api/v1/crates/new",
        Length::Bytes(1),
        "crates.example.com denied: rule \"crates\" allows no request like PUT /api/v1/crates/new",
    ),
];

#[test]
fn what_no_rule_names_is_denied_with_the_nearest_reason() {
    for (method, url, body, reason) in DENIED {
        let denied = verdict(&policy(None), &request(method, url, *body));
        assert_eq!(denied, Err((*reason).to_owned()), "{method} {url}");
    }
}

#[test]
fn g03_a_workspace_can_only_narrow() {
    let all = policy(None);
    let names: Vec<_> = all.rules().map(|rule| rule.name.clone()).collect();
    let mut allowed = 0;
    for subset in 0..1_u32 << names.len() {
        let picks: Vec<_> = names
            .iter()
            .enumerate()
            .filter(|(index, _)| subset & 1 << index != 0)
            .map(|(_, name)| name.as_str())
            .collect();
        let narrowed = policy(Some(&picks));
        for (method, url, body) in REQUESTS {
            let request = request(method, url, *body);
            if let Ok(rule) = verdict(&narrowed, &request) {
                assert!(verdict(&all, &request).is_ok(), "{picks:?} {method} {url}");
                assert!(rule == "body" || picks.contains(&rule.as_str()), "{picks:?} {method} {url}: {rule}");
                allowed += 1;
            }
        }
    }
    // Each request is allowed by one rule, which half of the subsets have.
    assert_eq!(allowed, REQUESTS.len() << (names.len() - 1));
}

#[test]
fn a_rule_that_the_workspace_left_out_is_named() {
    let denied =
        verdict(&policy(Some(&["model"])), &request("GET", "https://docs.example.com/", Length::None));
    assert_eq!(
        denied.unwrap_err(),
        "docs.example.com denied: rule \"docs\" of the class names it, and this workspace left the rule out"
    );
    let denied =
        verdict(&policy(Some(&["unknown"])), &request("GET", "https://docs.example.com/", Length::None));
    assert!(denied.is_err());
}

#[test]
fn b17_a_body_decides_where_a_rule_looks_into_it() {
    let request = request("POST", "https://api.example.com/v1/messages", Length::Unknown);
    let decide_with = |body: &[u8]| match decide(&policy(None), &request).unwrap() {
        Decision::NeedsBody(undecided) => {
            assert_eq!(undecided.max_body(), 1024);
            undecided.decide(&request.host, body)
        }
        Decision::Allowed(_) => panic!("allowed without its body"),
    };
    let allowed = decide_with(br#"{"model": "x"}"#).unwrap();
    let rule = allowed.rule();
    assert_eq!(
        (rule.name.as_str(), rule.credential.as_ref().unwrap().secret_name.as_str()),
        ("model", "model")
    );
    assert_eq!(
        decide_with(b"{}").unwrap_err().to_string(),
        "denied by rule \"model\": its body lacks `model`"
    );
    let long = format!("{{\"model\": \"{}\"}}", "x".repeat(1024));
    assert!(matches!(decide_with(long.as_bytes()), Err(Denied::BodyTooLong { max: 1024, .. })));
}

#[test]
fn b01_only_what_may_be_uninspected_is_tunnelled() {
    let tunnel = |host: &str, port| decide_tunnel(&policy(None), &Host::parse(host).unwrap(), port);
    for (host, port) in [("docs.example.com", 443), ("old.example.com", 80), ("ollama.models.svc", 11434)] {
        assert!(matches!(tunnel(host, port), Ok(Tunnel::Inspected)), "{host}:{port}");
    }
    assert!(
        matches!(tunnel("vpn.example.com", 443), Ok(Tunnel::Uninspected(allowed)) if allowed.rule().name == "vpn")
    );
    for (host, port) in [
        ("vpn.example.com", 80),
        ("docs.example.com", 22),
        ("old.example.com", 443),
        ("evil.example.com", 443),
        ("127.0.0.1", 443),
        ("localhost", 443),
    ] {
        assert!(tunnel(host, port).is_err(), "{host}:{port}");
    }
    let left_out = decide_tunnel(&policy(Some(&[])), &Host::parse("vpn.example.com").unwrap(), 443);
    assert!(matches!(left_out, Err(Denied::RuleNotPicked { .. })));
}

#[test]
fn b08_an_address_is_no_host_even_if_a_rule_names_it() {
    let mut class = class();
    for address in ["192.0.2.1", "[2001:db8::1]"] {
        class.by_host.insert(address.to_owned(), class.by_host["docs.example.com"]);
    }
    let policy = Policy::of(Arc::new(class), None);
    for address in ["192.0.2.1", "[2001:db8::1]"] {
        let request = request("GET", &format!("https://{address}/"), Length::None);
        assert!(matches!(decide(&policy, &request), Err(Denied::IpLiteral { .. })), "{address}");
        assert!(
            matches!(decide_tunnel(&policy, &request.host, 443), Err(Denied::IpLiteral { .. })),
            "{address}"
        );
    }
}

#[test]
fn b11_methods_are_told_apart_by_case() {
    let lower = Request {
        method: Method::from_bytes(b"get").unwrap(),
        ..request("GET", "https://docs.example.com/", Length::None)
    };
    assert!(verdict(&policy(None), &lower).is_err());
}

/// A policy whose one rule is a registry's preset.
fn of_registry(preset: &str, packages: &Value) -> Policy {
    let host = format!("{preset}.example.com");
    let rule = json!({"name": preset, "preset": preset, "hosts": [host], "packages": packages});
    let egress = serde_json::from_value(json!({"rules": [rule]})).unwrap();
    Policy::of(ClassPolicy::compile("default".parse().unwrap(), &egress).unwrap().into(), None)
}

#[test]
fn go_asks_its_checksum_database_for_what_it_may_fetch_alone() {
    let named = of_registry("go", &json!({"names": ["acme.example/*"]}));
    for (path, is_allowed) in [
        ("/acme.example/shop/v2/@v/v2.0.0.zip", true),
        ("/sumdb/sums.example/supported", true),
        ("/sumdb/sums.example/latest", true),
        ("/sumdb/sums.example/tile/8/0/x001/234", true),
        ("/sumdb/sums.example/tile/8/1/000.p/12", true),
        ("/sumdb/sums.example/lookup/acme.example/shop@v1.2.0", true),
        ("/sumdb/sums.example/lookup/acme.example/shop/v2@v2.0.0", true),
        ("/sumdb/sums.example/lookup/evil.example/c2VjcmV0@v1.0.0", false),
        ("/sumdb/sums.example/lookup/evil.example@v1.0.0", false),
        ("/lookup/acme.example/shop@v1.2.0", true),
        ("/tile/8/0/x001/234.p/17", true),
        ("/lookup/evil.example/c2VjcmV0@v1.0.0", false),
        ("/sumdb/sums.example/x/lookup/evil.example/x@v1.0.0", false),
        ("/sumdb/sums.example/tile/a/b/c/d/e/f/g", false),
    ] {
        let request = |method| request(method, &format!("https://go.example.com{path}"), Length::None);
        assert_eq!(verdict(&named, &request("GET")).is_ok(), is_allowed, "{path}");
        assert!(verdict(&named, &request("POST")).is_err());
    }
}

#[test]
fn a_file_is_of_the_package_that_its_name_begins_with() {
    let policy = |packages| of_registry("pypi", &packages);
    let (named, any) = (policy(json!({"names": ["WS_shop"]})), policy(json!({"minimumAge": "1h"})));
    for (path, is_named, is_any) in [
        ("/simple/ws-shop/", true, true),
        ("/simple/ws-shop2/", false, true),
        ("/packages/1c/db/0c/ws_shop-1.0-py3-none-any.whl", true, true),
        ("/packages/1c/db/0c/ws_shop-1.0-py3-none-any.whl.metadata", true, true),
        ("/packages/WS.Shop-1.0.tar.gz", true, true),
        ("/packages/1c/db/0c/ws_shop2-1.0-py3-none-any.whl", false, true),
        ("/packages/1c/db/ws_shop-1.0/evil-1.0.tar.gz", false, false),
        ("/packages/1c/db/0c/ws_shop-2-evil-1.0.tar.gz", false, false),
        ("/packages/1c/db/0c/ws_shop-1.0-py2.7.egg", true, true),
    ] {
        let request = request("GET", &format!("https://pypi.example.com{path}"), Length::None);
        assert_eq!(verdict(&named, &request).is_ok(), is_named, "{path}");
        assert_eq!(verdict(&any, &request).is_ok(), is_any, "{path}");
    }
}

#[test]
fn a_package_that_the_lockfiles_name_is_fetched() {
    let policy = |packages| {
        let rule =
            json!({"name": "npm", "preset": "npm", "hosts": ["npm.example.com"], "packages": packages});
        let egress = serde_json::from_value(json!({"rules": [rule]})).unwrap();
        let class = ClassPolicy::compile("default".parse().unwrap(), &egress).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let locked =
            Locked { npm: names(&["lodash", "@acme/shop"]), pypi: names(&["flask"]), ..Locked::default() };
        Policy::of(class.into(), None).with_locked(locked.sorted().into())
    };
    for (packages, expected) in [
        (json!({"fromLockfiles": "npm"}), [true, true, false, false]),
        (json!({"fromLockfiles": "npm", "names": ["left-*"]}), [true, true, false, true]),
        (json!({"fromLockfiles": "pypi"}), [false, false, true, false]),
        (json!({"names": ["left-pad"]}), [false, false, false, true]),
    ] {
        let policy = policy(packages.clone());
        let allowed = ["lodash", "@acme/shop", "flask", "left-pad"].map(|name| {
            let request = request("GET", &format!("https://npm.example.com/{name}"), Length::None);
            verdict(&policy, &request).is_ok()
        });
        assert_eq!(allowed, expected, "{packages}");
    }
}
