//! What holds of a request that the HTTP library read, whichever version of HTTP it came in.

use std::sync::{Arc, LazyLock};

use http::{HeaderName, Uri, request::Parts};
use serde_json::json;
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::{Allowed, Decision, decide},
    host::{Host, MAX_NAME},
    request::{Length, Request},
};

use crate::{
    headers::outward,
    request::{Asked, Destination, within, written_host},
};

/// A request of a rule that passes two headers on and takes a body.
static ALLOWED: LazyLock<Allowed> = LazyLock::new(|| {
    let egress = json!({"rules": [{"name": "r", "hosts": ["a.example"], "allow": [{"methods": ["POST"], "paths": ["/"],
        "headers": [{"name": "accept"}, {"name": "x-beta", "values": ["one", "two"]}], "body": {"max": "1Ki"}}]}]});
    let egress = serde_json::from_value(egress).expect("rules");
    let class = ClassPolicy::compile("default".parse().expect("a name"), &egress).expect("rules");
    let url = Uri::from_static("https://a.example/");
    let request = Request::absolute(http::Method::POST, &url, Length::None).expect("a request");
    match decide(&Policy::of(Arc::new(class), None), &request) {
        Ok(Decision::Allowed(allowed)) => allowed,
        other => panic!("{other:?}"),
    }
});

/// It is sent as one URL, which means the same.
pub fn judged(head: &Parts, length: Length) {
    assert!(written_host(head).chars().count() <= MAX_NAME && !written_host(head).contains('@'));
    match Asked::read(head, length) {
        Ok(Asked::Request(request)) => {
            let url: Uri = request.url().parse().expect("what is dialled is a URL");
            assert_eq!(Request::absolute(request.method.clone(), &url, length).as_ref(), Ok(&request));
            assert_eq!(url.authority().map(|authority| authority.as_str().contains('@')), Some(false));
            let Request { host, port, scheme, .. } = request.clone();
            let tunnel = Destination { host, port };
            if let Ok(inside) = within(&tunnel, scheme, head, length) {
                assert_eq!(inside.host, tunnel.host);
                assert_eq!((inside.port, &inside.path, &inside.query), (port, &request.path, &request.query));
            }
        }
        Ok(Asked::Tunnel(Destination { host, .. })) => {
            assert_eq!(Host::parse(host.as_str()), Ok(host));
        }
        Err(_) => {}
    }
    let tunnel = Destination { host: Host::parse("a.example").expect("a host"), port: 443 };
    if let Ok(request) = within(&tunnel, ws_api::egress::Scheme::Https, head, length) {
        assert!(request.url().starts_with("https://a.example/"));
        assert!(
            head.uri
                .authority()
                .is_none_or(|named| named.host().trim_end_matches('.').eq_ignore_ascii_case("a.example"))
        );
    }
    passes_only_what_is_named(head);
}

fn passes_only_what_is_named(head: &Parts) {
    let allowance = ALLOWED.allowance().expect("it is one of a request");
    let secret = (HeaderName::from_static("x-api-key"), "key".parse().expect("a value"));
    for credential in [None, Some(secret)] {
        let injected = credential.is_some();
        let sent = outward(allowance, credential, &head.headers);
        let is_once = sent.keys().all(|name| sent.get_all(name).iter().count() == 1);
        assert!(is_once, "{sent:?}");
        for (name, value) in &sent {
            match name.as_str() {
                "user-agent" => assert!(value.to_str().is_ok_and(|agent| agent.starts_with("ws-gateway/"))),
                "accept" | "content-type" | "content-encoding" => assert!(head.headers.contains_key(name)),
                "accept-encoding" => assert!(!injected),
                "x-api-key" => assert!(injected && value == "key"),
                "x-beta" => {
                    let value = value.to_str().expect("text");
                    assert!(value.split(", ").all(|element| matches!(element, "one" | "two")));
                }
                other => panic!("{other} was passed on"),
            }
        }
    }
}
