use serde_json::{Value, json};
use ws_policy::class::{ClassPolicy, Policy};
use ws_policy::decide::{Decision, decide};
use ws_policy::request::{Length, Request};

use super::*;

/// The headers that go out when a request that `requests` allows comes with `written`.
fn out(requests: &Value, credential: Option<&str>, written: &[(&str, &str)]) -> Vec<String> {
    let mut allow = json!({"methods": ["POST"], "paths": ["/"]});
    for (name, value) in requests.as_object().unwrap() {
        allow[name] = value.clone();
    }
    let egress =
        serde_json::from_value(json!({"rules": [{"name": "r", "hosts": ["a.example"], "allow": [allow]}]}));
    let class = ClassPolicy::compile("c".parse().unwrap(), &egress.unwrap()).unwrap();
    let url = "https://a.example/".parse().unwrap();
    let request = Request::absolute(http::Method::POST, &url, Length::None).unwrap();
    let allowed = match decide(&Policy::of(class.into(), None), &request).unwrap() {
        Decision::Allowed(allowed) => allowed,
        Decision::NeedsBody(undecided) => undecided.decide(&request.host, b"{}").unwrap(),
    };
    let written = written.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let credential = credential.map(|value| (http::header::AUTHORIZATION, value.parse().unwrap()));
    let headers = outward(allowed.allowance().unwrap(), credential, &{
        let mut map = HeaderMap::new();
        for (name, value) in written {
            let (name, value): (HeaderName, HeaderValue) = (name, value);
            map.append(name, value);
        }
        map
    });
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.retain(|line| !line.starts_with("user-agent: ws-gateway/"));
    lines.sort();
    lines
}

const OWN: &[(&str, &str)] = &[
    ("authorization", "Bearer mine"),
    ("proxy-authorization", "Basic mine"),
    ("x-api-key", "mine"),
    ("api-key", "mine"),
    ("cookie", "session=mine"),
    ("user-agent", "canary"),
    ("x-forwarded-for", "canary"),
    ("if-none-match", "canary"),
    ("range", "bytes=1-2"),
    ("accept-language", "canary"),
    ("content-type", "text/canary"),
];

#[test]
fn b16_b19_what_no_rule_names_stays_behind() {
    assert_eq!(out(&json!({}), None, OWN), Vec::<String>::new());
    assert_eq!(out(&json!({"headers": [{"name": "range"}]}), None, OWN), ["range: bytes=1-2"]);
}

#[test]
fn b16_the_credential_is_the_gateways_own() {
    assert_eq!(out(&json!({}), Some("Bearer ours"), OWN), ["authorization: Bearer ours"]);
    let encoded = out(&json!({}), Some("Bearer ours"), &[("accept-encoding", "gzip")]);
    assert_eq!(encoded, ["authorization: Bearer ours"], "an answer that is encoded could hide it");
}

#[test]
fn of_a_list_only_the_allowed_elements_pass() {
    let requests = json!({"headers": [{"name": "beta", "values": ["a", "b"]}]});
    for (written, expected) in [
        (vec![("beta", "a")], vec!["beta: a"]),
        (vec![("beta", "x, b,a"), ("beta", "y,b")], vec!["beta: b, a, b"]),
        (vec![("beta", "x")], vec![]),
    ] {
        assert_eq!(out(&requests, None, &written), expected, "{written:?}");
    }
    let twice = [("range", "a"), ("range", "b")];
    assert_eq!(out(&json!({"headers": [{"name": "range"}]}), None, &twice), Vec::<String>::new());
}

#[test]
fn a_body_says_its_type_unless_a_rule_knows_it() {
    let typed = [("content-type", "application/x-git"), ("content-encoding", "gzip")];
    assert_eq!(
        out(&json!({"body": {"max": "1Ki"}}), None, &typed),
        ["content-encoding: gzip", "content-type: application/x-git"]
    );
    let json = out(&json!({"body": {"max": "1Ki", "json": {}}}), None, &typed);
    assert_eq!(json, ["content-type: application/json"]);
}

#[test]
fn encodings_are_those_that_everybody_knows() {
    let accept = |written| out(&json!({}), None, &[("accept-encoding", written)]);
    assert_eq!(accept("gzip, canary, br;q=0.1, zstd"), ["accept-encoding: gzip, zstd"]);
    assert_eq!(accept("canary"), Vec::<String>::new());
}

#[test]
fn what_leads_around_the_gateway_does_not_come_back() {
    let mut headers = HeaderMap::new();
    for name in
        ["alt-svc", "connection", "keep-alive", "transfer-encoding", "upgrade", "content-type", "set-cookie"]
    {
        headers.insert(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("x"));
    }
    inward(&mut headers);
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-type", "set-cookie"]);
}

#[test]
fn what_a_host_says_is_of_the_connection_does_not_come_back() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "keep-alive, X-Hop"),
        ("connection", " ,x-other,no header"),
        ("x-hop", "1"),
        ("x-other", "1"),
        ("x-other", "2"),
        ("x-odd", "1"),
        ("x-end", "1"),
    ] {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
    }
    headers.append("connection", HeaderValue::from_bytes(b"close\xfe, X-Odd").unwrap());
    inward(&mut headers);
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-end"]);
}
