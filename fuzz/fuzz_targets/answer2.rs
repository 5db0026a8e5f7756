//! A host's answer by HTTP/2: it is bounded, says what was written, and comes to the workspace as any other. An input is what follows the
//! host's settings.

#![no_main]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Request, response::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy, sink},
    runtime::Builder,
};

use crate::written::{DATA, END_STREAM, Field, HEADERS, frames, size};

#[path = "../../operator/gateway/src/exchange/age.rs"]
mod age;
mod answered;
mod date;
mod fixed;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/headers.rs"]
mod headers;
mod refusal;
mod written;

const MAX_HEAD: usize = 16 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const STREAM_WINDOW: u32 = 512 << 10;
/// What a client begins with (RFC 9113 §3.4).
const PREFACE: usize = 24;
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// Names, with their values in their order.
type Fields = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// An answer, with its body and its trailers if that came to its end.
struct Answer {
    head: Parts,
    body: Option<(Bytes, Option<HeaderMap>)>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some(Answer { head, body }) = answer(bytes) else { return };
    let trailers = body.as_ref().and_then(|(_, trailers)| trailers.as_ref());
    assert!(size(&head.headers) <= MAX_HEAD);
    answered::judged(&head, trailers);
    if let Some((body, _)) = &body {
        assert!(data(bytes).starts_with(body), "it is the host's");
    }
    let blocks: Option<Vec<_>> = written::blocks(bytes).iter().map(|block| written::fields(block)).collect();
    let Some(blocks) = blocks else { return };
    let status = (b":status".to_vec(), head.status.as_str().as_bytes().to_vec());
    let is_head = |block: &Vec<Field>| block.contains(&status) && says(block, &head.headers);
    assert!(blocks.iter().any(is_head), "{head:?} is not as it was written");
    if let Some(trailers) = trailers {
        assert!(
            blocks.iter().any(|block| says(block, trailers)),
            "{trailers:?} are not as they were written"
        );
    }
});

/// What the gateway's library reads.
fn answer(bytes: &[u8]) -> Option<Answer> {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(bytes.len() + (16 << 10));
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .handshake(TokioIo::new(ours))
            .await
            .ok()?;
        tokio::spawn(connection);
        let read = async move {
            let request = Request::get("https://a.example/").body(Empty::<Bytes>::new()).expect("a request");
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok();
            let body = body.map(|body| (body.trailers().cloned(), body.to_bytes()));
            Some(Answer { head, body: body.map(|(trailers, body)| (body, trailers)) })
        };
        tokio::spawn(host(theirs, bytes.to_vec()));
        read.await
    })
}

/// Answers, and takes what comes as long as something does.
async fn host(stream: DuplexStream, bytes: Vec<u8>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    writer.write_all(SETTINGS).await.ok();
    // It is an answer, and not there before it was asked for.
    asked(&mut reader).await;
    writer.write_all(&bytes).await.ok();
    writer.shutdown().await.ok();
    copy(&mut reader, &mut sink()).await.ok();
}

/// Resolves when a request has come.
async fn asked(reader: &mut (impl AsyncRead + Unpin)) {
    let mut asked = Vec::new();
    let is_request = |asked: &[u8]| {
        asked.get(PREFACE..).is_some_and(|asked| frames(asked).any(|frame| frame.kind == HEADERS))
    };
    while !is_request(&asked) && reader.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
}

/// What was written of the one body.
fn data(bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for frame in frames(bytes).filter(|frame| frame.kind == DATA && frame.stream == 1) {
        data.extend(frame.content().unwrap_or_default());
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    data
}

fn says(block: &[Field], headers: &HeaderMap) -> bool {
    let (mut written, mut read) = (Fields::new(), Fields::new());
    for (name, value) in block.iter().filter(|(name, _)| !name.starts_with(b":")) {
        written.entry(name.clone()).or_default().push(value.clone());
    }
    for (name, value) in headers {
        read.entry(name.as_str().into()).or_default().push(value.as_bytes().to_vec());
    }
    written == read
}
