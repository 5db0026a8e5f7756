//! HTTP/2 in a tunnel: what is read as a request is sent as one URL that means the same, says what was written, and no more
//! requests are read than were written. An input is what follows the preface and the settings.

#![no_main]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Response, header::HOST, request::Parts};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use libfuzzer_sys::fuzz_target;
use tokio::{runtime::Builder, task::yield_now};
use ws_policy::request::Length;

use crate::{asked::judged, request::length, written::size};

mod asked;
mod fixed;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/headers.rs"]
mod headers;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/request.rs"]
mod request;
#[allow(dead_code)]
mod written;

const MAX_HEAD: u32 = 16 << 10;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a header block says of where its request goes.
#[derive(Debug, Default)]
struct Written {
    method: Vec<u8>,
    path: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    hosts: Vec<Vec<u8>>,
}

/// Heads with the lengths of what follows them, and the bytes of all bodies.
type Read = (Vec<(Parts, Length)>, usize);

fuzz_target!(|frames: &[u8]| {
    let (heads, body_bytes) = served(frames);
    let blocks = written::blocks(frames);
    assert!(heads.len() <= blocks.len(), "each request has a block of its own");
    assert!(body_bytes <= frames.len());
    let written: Option<Vec<Written>> = blocks.iter().map(|block| Written::read(block)).collect();
    for (head, length) in &heads {
        if let Some(written) = &written {
            assert!(written.iter().any(|written| says(head, written)), "{head:?} is not as it was written");
        }
        assert!(size(&head.headers) <= MAX_HEAD as usize);
        judged(head, *length);
    }
});

/// What the gateway's library reads.
fn served(frames: &[u8]) -> Read {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let bytes = [PREFACE, frames].concat();
    let read = Arc::new(Mutex::new(Read::default()));
    runtime.block_on(async {
        let service = service_fn(|request: http::Request<Incoming>| {
            let (head, body) = request.into_parts();
            let read = read.clone();
            read.lock().expect("one thread").0.push((head, length(&body)));
            async move {
                let body = body.collect().await.map_or(0, |body| body.to_bytes().len());
                read.lock().expect("one thread").1 += body;
                Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
            }
        });
        let stream = tokio::io::join(std::io::Cursor::new(bytes), tokio::io::sink());
        // However it ends, what was read was read.
        let _ = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(128)
            .max_header_list_size(MAX_HEAD)
            .initial_connection_window_size(256 << 10)
            .initial_stream_window_size(256 << 10)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        for _ in 0..4 {
            yield_now().await;
        }
    });
    drop(runtime);
    Arc::into_inner(read).expect("all has ended").into_inner().expect("one thread")
}

fn says(head: &Parts, written: &Written) -> bool {
    let target = head.uri.path_and_query().map(|target| target.as_str());
    let is_target = match (&written.path, target) {
        // What a server is never sent (RFC 9110 §4.2.5) is left off.
        (Some(path), Some(target)) => {
            let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
            path == target.as_bytes() || (path.is_empty() && target == "/")
        }
        (None, None) => true,
        (None, Some(target)) => target == "/",
        (Some(_), None) => false,
    };
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let hosts = head.headers.get_all(HOST).iter().map(|host| host.as_bytes());
    is_target
        && head.method.as_str().as_bytes() == written.method
        && authority == written.authority.as_deref()
        && hosts.eq(written.hosts.iter().map(Vec::as_slice))
}

impl Written {
    /// Reads a block, unless it is compressed.
    fn read(block: &[u8]) -> Option<Self> {
        let mut written = Self::default();
        for (name, value) in written::fields(block)? {
            match name.as_slice() {
                b":method" => written.method = value,
                b":path" => written.path = Some(value),
                b":authority" => written.authority = Some(value),
                b"host" => written.hosts.push(value),
                _ => {}
            }
        }
        Some(written)
    }
}
