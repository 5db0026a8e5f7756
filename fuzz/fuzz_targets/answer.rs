//! A host's answer: nothing of its connection comes to the workspace and all else does, and a version is as old as another reader says.

#![no_main]

use bytes::Bytes;
use futures::{executor::block_on, future::join};
use http::{HeaderMap, Request, response::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[path = "../../operator/gateway/src/exchange/age.rs"]
mod age;
mod answered;
mod date;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/headers.rs"]
mod headers;
mod refusal;

fuzz_target!(|bytes: &[u8]| {
    if let Some((head, trailers)) = block_on(read(bytes)) {
        answered::judged(&head, trailers.as_ref());
    }
});

/// The head of an answer as the gateway's library reads it, and its trailers.
async fn read(bytes: &[u8]) -> Option<(Parts, Option<HeaderMap>)> {
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
