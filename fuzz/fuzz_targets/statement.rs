//! What an agent and the gateway say to each other: a statement is short and says what it says to any reader, and only an answer of
//! success is taken for one.

#![no_main]

use std::{convert::Infallible, sync::LazyLock};

use bytes::Bytes;
use futures::{executor::block_on, future::join, stream};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{body::Frame, client::conn::http1};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::{Builder, Runtime},
};
use ws_api::gateway::WayOut;

#[allow(dead_code)]
#[path = "../../operator/agent/src/accept.rs"]
mod accept;
#[allow(dead_code)]
#[path = "../../operator/agent/src/carry.rs"]
mod carry;
#[allow(dead_code)]
#[path = "../../operator/agent/src/gateway.rs"]
mod gateway;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/proxy/statement.rs"]
mod statement;

/// What the statement's reader needs of the gateway.
mod body {
    pub type Body = http_body_util::Full<bytes::Bytes>;

    pub fn whole(bytes: impl Into<bytes::Bytes>) -> Body {
        Body::new(bytes.into())
    }
}
mod refusal {
    use http::{Response, StatusCode};

    use crate::body::{Body, whole};

    pub fn text(status: StatusCode, line: &impl std::fmt::Display) -> Response<Body> {
        let mut response = Response::new(whole(line.to_string()));
        *response.status_mut() = status;
        response
    }
}

const MAX_STATEMENT: usize = 1 << 10;
const MAX_HEAD: usize = 4 << 10;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

fuzz_target!(|bytes: &[u8]| {
    stated(bytes);
    answered(bytes);
    opened(bytes);
});

/// As the gateway takes it, in pieces.
fn stated(bytes: &[u8]) {
    let pieces =
        bytes.chunks(100).map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
    let mut attempts = None;
    let body = StreamBody::new(stream::iter(pieces));
    let response = RUNTIME.block_on(statement::take(body, |stated| attempts = Some(stated)));
    assert_eq!(response.status() == StatusCode::NO_CONTENT, attempts.is_some());
    if let Some(attempts) = attempts {
        assert!(bytes.len() <= MAX_STATEMENT, "it is bounded");
        // Another reader; a list of the values means the same to ours.
        let stated: Value = serde_json::from_slice(bytes).expect("a statement is JSON");
        let (Some(said), Some(after)) = (
            stated.get("attempts").or_else(|| stated.get(0)),
            stated.get("afterMs").or_else(|| stated.get(1)),
        ) else {
            panic!("{stated} says nothing");
        };
        assert_eq!(said.as_u64(), Some(attempts.into()));
        assert!(after.is_u64());
    }
}

/// As the agent takes an answer of the gateway.
fn answered(bytes: &[u8]) {
    let Ok(body) = gateway::body_of(bytes.to_vec()) else { return };
    assert!(bytes.ends_with(&body));
    let head = &bytes[..bytes.len() - body.len()];
    assert!(head.ends_with(END_OF_HEAD) && head.starts_with(b"HTTP/1."));
    if let Ok(way_out) = serde_json::from_slice::<WayOut>(&body) {
        let again = serde_json::to_vec(&way_out).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<WayOut>(&again).expect("its own writing"), way_out);
    }
    // The library also ends a line without a carriage return, and reads a body's length.
    let ends = head.windows(2).filter(|window| window == b"\r\n").count();
    let is_plain = head.iter().filter(|byte| **byte == b'\n').count() == ends;
    if let Some(read) = block_on(by_the_library(bytes)).filter(|_| is_plain) {
        assert!(read.status().is_success(), "{}", read.status());
        let is_framed =
            ["content-length", "transfer-encoding"].iter().any(|name| read.headers().contains_key(*name));
        let is_empty = matches!(read.status(), StatusCode::NO_CONTENT);
        assert!(is_framed || is_empty || read.body() == &body);
    }
}

/// The same answer as the HTTP library reads it, if it does.
async fn by_the_library(bytes: &[u8]) -> Option<Response<Vec<u8>>> {
    let (ours, mut theirs) = tokio::io::duplex(bytes.len() + 1_024);
    let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.ok()?;
    let read = async move {
        let response = sender.send_request(http::Request::new(Full::<Bytes>::default())).await.ok()?;
        let (head, body) = response.into_parts();
        Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes().to_vec()))
    };
    let answer = async move {
        let mut request = [0];
        theirs.read_exact(&mut request).await.ok();
        theirs.write_all(bytes).await.ok();
    };
    let ((read, ()), _) = join(join(read, answer), connection).await;
    read
}

/// As the agent opens a connection through the gateway.
fn opened(bytes: &[u8]) {
    let mut rest = bytes;
    let is_open = block_on(carry::opened(&mut rest)).is_ok();
    assert!(bytes.len() - rest.len() <= MAX_HEAD, "it is bounded");
    let end = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
    let head = end.map(|end| end + END_OF_HEAD.len()).filter(|end| *end <= MAX_HEAD);
    assert_eq!(is_open, head.is_some() && gateway::is_success(bytes));
    if is_open {
        assert_eq!(Some(bytes.len() - rest.len()), head, "what follows the head is the host's");
    }
}
