//! A host's answer: nothing of its connection comes to the workspace and all else does, and a version is as old as another reader says.

#![no_main]

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::{executor::block_on, future::join};
use http::{HeaderMap, Method, Request, Uri, header::LAST_MODIFIED, response::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::{Allowed, Decision, decide},
    request::{Length, Request as Asked},
};

use crate::{headers::inward, refusal::Refusal};

#[path = "../../operator/gateway/src/exchange/age.rs"]
mod age;
mod date;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/headers.rs"]
mod headers;

/// What the reader of ages needs of the gateway.
mod refusal {
    use std::time::Duration;

    #[derive(Debug)]
    pub enum Refusal {
        NoAge { rule: String },
        TooNew { rule: String, since: String, minimum: Duration },
    }
}

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
const MINIMUM: Duration = Duration::from_secs(24 * 60 * 60);
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
    let request = Asked::absolute(Method::GET, &url, Length::None).expect("a request");
    match decide(&Policy::of(Arc::new(class), None), &request) {
        Ok(Decision::Allowed(allowed)) => allowed,
        other => panic!("{other:?}"),
    }
});

fuzz_target!(|bytes: &[u8]| {
    let Some((head, trailers)) = block_on(answered(bytes)) else { return };
    is_as_old_as_it_says(&head);
    for headers in std::iter::once(&head.headers).chain(&trailers) {
        passes_all_but_the_connection(headers);
    }
});

/// The head of an answer as the gateway's library reads it, and its trailers.
async fn answered(bytes: &[u8]) -> Option<(Parts, Option<HeaderMap>)> {
    let (ours, mut theirs) = tokio::io::duplex(bytes.len() + 1_024);
    let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.ok()?;
    let read = async move {
        let request = Request::get("/").body(Empty::<Bytes>::new()).expect("a request");
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok();
        Some((head, body.and_then(|body| body.trailers().cloned())))
    };
    let answer = async move {
        // It is an answer, and not there before it was asked for.
        theirs.read_exact(&mut [0]).await.ok();
        theirs.write_all(bytes).await.ok();
    };
    let ((read, ()), _) = join(join(read, answer), connection).await;
    read
}

fn passes_all_but_the_connection(written: &HeaderMap) {
    let mut passed = written.clone();
    inward(&mut passed);
    let mut kept_back: BTreeSet<_> = OF_THE_CONNECTION.map(str::to_owned).into();
    for options in written.get_all("connection") {
        let options = String::from_utf8_lossy(options.as_bytes()).to_ascii_lowercase();
        kept_back.extend(options.split(',').map(|option| option.trim_matches([' ', '\t']).to_owned()));
    }
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
