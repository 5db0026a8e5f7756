//! Random classes and requests, out of few parts, so that they often meet.

use std::fmt::Write as _;

use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::{select, subsequence},
    strategy::BoxedStrategy,
};
use serde_json::{Value, json};
use ws_api::egress::{Egress, Locked};
use ws_policy::request::{Length, Request};

const HOSTS: &[&str] = &["a.example", "b.example", "c.d.example"];
const PATTERNS: &[&str] = &[
    "/**",
    "/a/**",
    "/a",
    "/a/{x}",
    "/a/{x}/b",
    "/{x}",
    "/{x}-{y}.c",
    "/a/{x}:b",
    "/a%2Fb",
    "/a/{x}%2F{y}",
    "/",
    "/a/",
];
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/b",
    "/a/b:b",
    "/a/b:b:b",
    "/b-c.c",
    "/b-b-c.c",
    "/-b.c",
    "/a%2Fb",
    "/a/b%2Fb",
    "/a/b%2Fb%2Fb",
    "/a/b;b",
    "/a/%25b",
    "/%C3%A9",
    "/a/b/c/d",
    "/a/%20",
    "/A",
    "/a/a",
    "/a/b/1b",
    "/a/b/v1",
    "/b-1.c",
];
/// Those of packages: `{x}` is the name.
const REGISTRY: &[&str] =
    &["/a/{x}", "/a/{x}/b", "/{x}-{y}.c", "/a/{x}:b", "/a/{x}%2F{y}", "/{x}/{x}", "/a/{x}/{version}"];
pub const NAMES: &[&str] = &["a", "b", "b:b", "1", "c"];
const PARAMETERS: &[&str] = &["a", "a=1", "b=2", "a=1;b=2"];
const BODIES: &[&str] = &[
    "1234",
    r#"{"m": "ab"}"#,
    r#"{"m": "b"}"#,
    r#"{"m": true}"#,
    r#"{"l": [{"t": "ab"}, {}]}"#,
    r#"{"m": "ab", "l": [{"t": "ab"}, {"t": "c"}]}"#,
    r#"{"m": "ab", "l": {"t": "c"}}"#,
    r#"{"m": 1}"#,
    r#"{"f": 1}"#,
    r#"{"m": 1, "f": 1}"#,
    "[]",
    r#"{"x": 123456}"#,
];

/// A request and its body.
#[derive(Clone, Debug)]
pub struct Asked {
    pub request: Request,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn has_length(&self) -> bool {
        self.request.body != Length::Unknown
    }
}

/// A class of one to six rules.
pub fn class() -> impl Strategy<Value = Egress> {
    vec(prop_oneof![2 => rule(), 1 => registry()], 1..=6).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule["name"] = format!("r{index}").into();
        }
        serde_json::from_value(json!({"rules": rules})).unwrap()
    })
}

fn rule() -> impl Strategy<Value = Value> {
    let hosts = subsequence(HOSTS, 1..=2);
    let scheme = prop_oneof![4 => Just(None), 1 => select(&["http", "https"][..]).prop_map(Some)];
    let ports =
        prop_oneof![4 => Just(None), 1 => subsequence(&[80_u16, 443, 8443][..], 1..=2).prop_map(Some)];
    let outside = (hosts, scheme, ports, vec(requests(), 1..=3)).prop_map(|(hosts, scheme, ports, allow)| {
        let mut rule = json!({"hosts": hosts, "allow": allow});
        if let Some(scheme) = scheme {
            rule["scheme"] = scheme.into();
        }
        if let Some(ports) = ports {
            rule["ports"] = json!(ports);
        }
        rule
    });
    let service = vec(requests(), 1..=2)
        .prop_map(|allow| json!({"service": {"namespace": "m", "name": "o", "port": 80}, "allow": allow}));
    let passed_through = subsequence(HOSTS, 1..=1).prop_map(|hosts| {
        json!({"hosts": hosts, "passthrough": {"acknowledged": "uninspected"}, "budget": {"upload": "1Mi"}})
    });
    prop_oneof![8 => outside, 1 => service, 1 => passed_through]
}

/// A rule that holds packages by names, those of lockfiles, neither or both, or says no more than where they are.
fn registry() -> impl Strategy<Value = Value> {
    let requests = (subsequence(REGISTRY, 2..=6), any::<bool>()).prop_map(|(paths, normalized)| {
        json!({"methods": ["GET", "POST"], "paths": paths, "query": ["*"], "body": {"max": "1000"}, "package": {"name": "{x}", "normalized": normalized}})
    });
    let names = option::of(subsequence(&["a", "b", "b*", "*", "B:b"][..], 1..=3));
    let locked = option::of(select(&["npm", "go"][..]));
    let is_gated = prop_oneof![5 => Just(true), 1 => Just(false)];
    (subsequence(HOSTS, 1..=2), vec(requests, 1..=2), names, locked, is_gated).prop_map(
        |(hosts, allow, names, locked, is_gated)| {
            let mut packages = json!({"minimumAge": "1h"});
            if let Some(names) = names {
                packages["names"] = json!(names);
            }
            if let Some(registry) = locked {
                packages["fromLockfiles"] = registry.into();
            }
            let gated = json!({"hosts": hosts, "allow": allow, "packages": packages});
            if is_gated { gated } else { json!({"hosts": hosts, "allow": allow}) }
        },
    )
}

/// What the lockfiles of a project name.
pub fn locked() -> impl Strategy<Value = Locked> {
    (subsequence(NAMES, 0..=3), subsequence(NAMES, 0..=3)).prop_map(|(npm, go)| {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Locked { npm: owned(npm), go: owned(go), ..Locked::default() }
    })
}

fn requests() -> impl Strategy<Value = Value> {
    let methods = subsequence(&["GET", "POST", "PUT"][..], 1..=2);
    let query = prop_oneof![1 => Just(vec![]), 2 => Just(vec!["*"]), 1 => subsequence(PARAMETERS, 1..=2)];
    let more = prop_oneof![
        2 => Just(json!({})),
        6 => body().prop_map(|body| json!({"body": body})),
        1 => Just(json!({"methods": ["GET"], "webSocket": {"maxMessage": "1Ki"}})),
    ];
    (methods, subsequence(PATTERNS, 1..=5), query, more).prop_map(|(methods, paths, query, more)| {
        let mut requests = json!({"methods": methods, "paths": paths, "query": query});
        for (name, value) in more.as_object().unwrap() {
            requests[name] = value.clone();
        }
        requests
    })
}

fn body() -> impl Strategy<Value = Value> {
    let json = prop_oneof![
        Just(json!({})),
        Just(json!({"required": ["m"]})),
        Just(json!({"forbidden": ["f"]})),
        Just(json!({"required": ["m"], "forbidden": ["f"]})),
        Just(json!({"values": [{"at": "m", "anyOf": ["a*", "true"]}]})),
        Just(
            json!({"required": ["m"], "values": [{"at": "m", "anyOf": ["b", "ab"]}, {"at": "l[].t", "anyOf": ["a*"]}]})
        ),
    ];
    (select(&["0", "4", "12", "1000"][..]), option::weighted(0.7, json)).prop_map(|(max, json)| match json {
        Some(json) => json!({"max": max, "json": json}),
        None => json!({"max": max}),
    })
}

/// A request of the same few parts, and some others.
pub fn asked() -> impl Strategy<Value = Asked> {
    let url = (
        prop_oneof![1 => Just("http"), 4 => Just("https")],
        prop_oneof![8 => select(HOSTS), 1 => Just("o.m.svc"), 1 => select(&["e.example", "20.0.113.66"][..])],
        prop_oneof![6 => Just(""), 1 => select(&[":80", ":443", ":8443", ":22"][..])],
        select(PATHS),
        vec(select(PARAMETERS), 0..=1),
    );
    let body = prop_oneof![
        3 => Just(""),
        4 => select(BODIES),
    ];
    let opens_web_socket = prop_oneof![7 => Just(false), 1 => Just(true)];
    let method = prop_oneof![8 => select(&["GET", "POST", "PUT"][..]), 1 => Just("get")];
    (method, url, body, any::<bool>(), opens_web_socket).prop_map(
        |(method, url, body, has_length, opens_web_socket)| {
            let (scheme, host, port, path, query) = url;
            let mark = if query.is_empty() { "" } else { "?" };
            let url = format!("{scheme}://{host}{port}{path}{mark}{}", query.join("&"));
            let length = match body.len() as u64 {
                0 => Length::None,
                bytes if has_length => Length::Bytes(bytes),
                _ => Length::Unknown,
            };
            let request = Request::absolute(method.parse().unwrap(), &url.parse().unwrap(), length).unwrap();
            Asked { request: Request { opens_web_socket, ..request }, body: body.into() }
        },
    )
}

/// What is often a host: labels, numbers, brackets.
pub fn host() -> BoxedStrategy<String> {
    prop_oneof!["([a-zA-Z0-9-]{1,4}\\.?){1,4}", "[0-9a-fx.]{1,12}", "\\[[0-9a-fA-F:.]{2,20}\\]"].boxed()
}

/// The same URL in another spelling: the host in capitals and with its dot, what need not be encoded encoded, escapes in lower
/// case, the default port written out.
pub fn spelled(url: &str, choices: &[u8]) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, target) = rest.split_at(rest.find('/').unwrap());
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let mut choices = choices.iter().cycle();
    let mut chance = || choices.next().is_some_and(|choice| choice % 3 == 0);
    let mut written = format!("{scheme}://");
    written.extend(host.chars().map(|letter| if chance() { letter.to_ascii_uppercase() } else { letter }));
    if chance() {
        written.push('.');
    }
    match (port, scheme) {
        ("", "http") if chance() => written.push_str(":80"),
        ("", "https") if chance() => written.push_str(":443"),
        ("", _) => {}
        (port, _) => write!(written, ":{port}").unwrap(),
    }
    let mut left = target.chars();
    while let Some(letter) = left.next() {
        if letter == '%' {
            let escape: String = left.by_ref().take(2).collect();
            write!(written, "%{}", if chance() { escape.to_lowercase() } else { escape }).unwrap();
        } else if (letter.is_ascii_alphanumeric() || "-._~".contains(letter)) && chance() {
            write!(written, "%{:02x}", u32::from(letter)).unwrap();
        } else {
            written.push(letter);
        }
    }
    written
}
