//! What holds of an answer that the HTTP library read, whichever version of HTTP it came in: nothing of its connection comes to the
//! workspace and all else does, and a version is as old as another reader says.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Method, Uri, header::LAST_MODIFIED, response::Parts};
use serde_json::json;
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::{Allowed, Decision, decide},
    request::{Length, Request},
};

use crate::{age, date, headers::inward, refusal::Refusal};

/// Of a connection (RFC 9110 §7.6.1), or of another way than through the gateway.
const OF_THE_CONNECTION: [&str; 9] = [
    "alt-svc",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Of what a host says is of its connection, so much is heeded.
const NOMINATED: usize = 32;
const MINIMUM: Duration = Duration::from_hours(24);
/// 22 November 2026.
const NOW: Duration = Duration::from_secs(1_795_305_600);

/// A version of a package.
static ALLOWED: LazyLock<Allowed> = LazyLock::new(|| {
    let egress = json!({"rules": [
        {"name": "npm", "preset": "npm", "hosts": ["npm.example"], "packages": {"minimumAge": "24h"}},
    ]});
    let egress = serde_json::from_value(egress).expect("rules");
    let class = ClassPolicy::compile("default".parse().expect("a name"), &egress).expect("rules");
    let url = Uri::from_static("https://npm.example/left-pad/-/left-pad-1.3.0.tgz");
    let request = Request::absolute(Method::GET, &url, Length::None).expect("a request");
    match decide(&Policy::of(Arc::new(class), None), &request) {
        Ok(Decision::Allowed(allowed)) => allowed,
        other => panic!("{other:?}"),
    }
});

/// It comes to the workspace as it should, and so do its trailers.
pub fn judged(head: &Parts, trailers: Option<&HeaderMap>) {
    is_as_old_as_it_says(head);
    for headers in std::iter::once(&head.headers).chain(trailers) {
        passes_all_but_the_connection(headers);
    }
}

fn passes_all_but_the_connection(written: &HeaderMap) {
    let mut passed = written.clone();
    inward(&mut passed);
    let mut kept_back: BTreeSet<_> = OF_THE_CONNECTION.map(str::to_owned).into();
    let options = written.get_all("connection").iter().flat_map(|options| {
        let options = String::from_utf8_lossy(options.as_bytes()).to_ascii_lowercase();
        options.split(',').map(|option| option.trim_matches([' ', '\t']).to_owned()).collect::<Vec<_>>()
    });
    kept_back.extend(options.take(NOMINATED));
    for name in written.keys() {
        let (before, after) = (written.get_all(name).iter(), passed.get_all(name).iter());
        if kept_back.contains(name.as_str()) {
            assert_eq!(after.count(), 0, "{name} came back");
        } else {
            assert!(after.eq(before), "{name} did not come back as it was");
        }
    }
    assert!(passed.keys().all(|name| written.contains_key(name)));
}

fn is_as_old_as_it_says(head: &Parts) {
    let now: SystemTime = UNIX_EPOCH + NOW;
    let written = head.headers.get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let age = written.and_then(date::seconds).map(|seconds| i128::from(NOW.as_secs()) - i128::from(seconds));
    let is_old_enough = age.is_some_and(|age| age >= i128::from(MINIMUM.as_secs()));
    match age::check(&ALLOWED, head, now) {
        Ok(()) => assert!(!head.status.is_success() || is_old_enough, "{written:?} is not that old"),
        Err(Refusal::NoAge { rule }) => assert!(head.status.is_success() && rule == "npm"),
        Err(Refusal::TooNew { rule, since, minimum }) => {
            assert!(head.status.is_success() && !is_old_enough, "{written:?} is old enough");
            assert_eq!((rule.as_str(), minimum), ("npm", MINIMUM));
            assert_eq!(date::seconds(&since), written.and_then(date::seconds), "it is told as it was read");
        }
    }
}
