//! Bytes on the proxy's port: what is read as a request is sent as one URL that means the same, and no more requests are read
//! than were written.

#![no_main]

use std::{cell::RefCell, convert::Infallible};

use futures::executor::block_on;
use http::{Response, request::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use ws_policy::request::Length;

use crate::{asked::judged, request::length};

mod asked;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/headers.rs"]
mod headers;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/request.rs"]
mod request;

const MAX_HEAD: usize = 16 << 10;

fuzz_target!(|bytes: &[u8]| {
    let (heads, body_bytes) = block_on(served(bytes));
    let versions = bytes.windows(7).filter(|window| window == b"HTTP/1.").count();
    assert!(heads.len() <= versions, "each request has a line of its own");
    assert!(body_bytes <= bytes.len());
    for (head, length) in &heads {
        written_as_read(bytes, head);
        judged(head, *length);
    }
});

/// The heads of the requests that the gateway's library reads, and the bytes of their bodies.
async fn served(bytes: &[u8]) -> (Vec<(Parts, Length)>, usize) {
    let read = RefCell::new((Vec::new(), 0));
    let service = service_fn(async |request: http::Request<Incoming>| {
        let (head, body) = request.into_parts();
        read.borrow_mut().0.push((head, length(&body)));
        let body = body.collect().await.map_or(0, |body| body.to_bytes().len());
        read.borrow_mut().1 += body;
        Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
    });
    let stream = tokio::io::join(bytes, tokio::io::sink());
    let connection = http1::Builder::new()
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // However it ends, what was read was read.
    let _ = connection.await;
    read.into_inner()
}

fn written_as_read(bytes: &[u8], head: &Parts) {
    let contains = |part: &str| bytes.windows(part.len()).any(|window| window == part.as_bytes());
    assert!(contains(&format!("{} ", head.method)), "the method is as it was written");
    let target = head.uri.path_and_query().map_or("", |target| target.as_str().trim_start_matches('/'));
    assert!(target.is_empty() || contains(target), "the target is as it was written");
}
