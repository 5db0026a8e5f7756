//! What an agent says to the gateway itself, and asks of it, in origin form: [`Isolated`] and [`WayOut`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;
use ws_api::gateway::{Destination, ISOLATED_PATH, Isolated, WAY_OUT_PATH, WayOut};
use ws_policy::class::Policy;

use crate::{
    body::{Body, whole},
    refusal::text,
};

/// Longest statement, in bytes.
const MAX_BODY: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(5);

/// What a request is that is for the gateway and not for somewhere beyond it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AgentCall {
    Isolated,
    WayOut,
}

impl AgentCall {
    pub fn of(head: &Parts) -> Option<Self> {
        match (&head.method, head.uri.authority(), head.uri.path()) {
            (&Method::POST, None, ISOLATED_PATH) => Some(Self::Isolated),
            (&Method::GET, None, WAY_OUT_PATH) => Some(Self::WayOut),
            _ => None,
        }
    }
}

/// What the programs of a workspace with this policy need to know.
pub fn way_out(certificate: &str, policy: &Policy) -> Response<Body> {
    let mut ports: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    let mut environment = BTreeMap::new();
    for rule in policy.rules() {
        for host in rule.hosts() {
            ports.entry(host).or_default().extend(rule.ports());
        }
        environment.extend(rule.environment.clone());
    }
    let destination = |(host, ports): (&str, BTreeSet<u16>)| Destination {
        host: host.to_owned(),
        ports: ports.into_iter().collect(),
    };
    let destinations = ports.into_iter().map(destination).collect();
    let way_out = WayOut { certificate: certificate.to_owned(), destinations, environment };
    match serde_json::to_vec(&way_out) {
        Ok(json) => {
            let mut response = Response::new(whole(json));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

/// Reads a statement and hands on its attempts. It does not wait until they are recorded: the agent serves its user
/// meanwhile.
pub async fn take<B>(body: B, record: impl FnOnce(u32)) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: fmt::Display + Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Ok(body) = timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await else {
        return text(StatusCode::REQUEST_TIMEOUT, &"the statement did not arrive in time");
    };
    match body.map(|body| read(&body.to_bytes())) {
        Ok(Some(statement)) => {
            record(statement.attempts);
            let mut taken = Response::default();
            *taken.status_mut() = StatusCode::NO_CONTENT;
            taken
        }
        Ok(None) => text(StatusCode::BAD_REQUEST, &"this is no statement of an agent"),
        Err(_) => text(StatusCode::BAD_REQUEST, &format_args!("a statement has at most {MAX_BODY} bytes")),
    }
}

/// JSON is UTF-8 throughout (RFC 8259 §8.1): also where nothing is read of it.
fn read(statement: &[u8]) -> Option<Isolated> {
    serde_json::from_str(str::from_utf8(statement).ok()?).ok()
}
