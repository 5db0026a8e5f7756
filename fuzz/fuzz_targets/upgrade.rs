//! An API server's answer to a request for another protocol: only one that agrees to it is taken for agreement, and a refusal is told as
//! it was written, bounded.

#![no_main]

use std::sync::Arc;

use futures::TryFutureExt as _;
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use kube::client::{Body, Client};
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    runtime::Builder,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower::{BoxError, service_fn};

#[path = "../../cli/src/carrier/upgrade.rs"]
mod upgrade;

const SUBPROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// Where an answer says that it has understood the request.
const ACCEPT: &str = "{accept}";
const REFUSAL: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    let answer = String::from_utf8_lossy(bytes).into_owned();
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let upgraded = runtime.block_on(asked(answer.clone().into()));
    let says = |line: &str| answer.lines().any(|written| written.replace(' ', "").eq_ignore_ascii_case(line));
    match upgraded {
        Ok(()) => {
            assert!(
                answer
                    .lines()
                    .any(|line| line.starts_with("HTTP/1.1 101") || line.starts_with("HTTP/1.0 101"))
            );
            assert!(says("upgrade:websocket") && says("connection:upgrade"));
            assert!(says(&format!("sec-websocket-accept:{ACCEPT}")), "it has not understood");
            assert!(says(&format!("sec-websocket-protocol:{SUBPROTOCOL}")), "it speaks something else");
        }
        Err(kube::Error::Api(status)) => {
            let is_refusal = |line: &str| {
                line.starts_with("HTTP/1.")
                    && line.split(' ').nth(1).is_some_and(|code| code.starts_with(['4', '5']))
            };
            assert!(answer.lines().any(is_refusal), "{status:?}");
            assert!(status.message.len() <= REFUSAL * '\u{fffd}'.len_utf8());
        }
        Err(_) => {}
    }
});

/// What becomes of a request that is answered so.
async fn asked(answer: Arc<str>) -> Result<(), kube::Error> {
    let client = Client::new(service_fn(move |request| sent(request, answer.clone())), "default");
    let request = Request::get("/api/v1/namespaces/default/pods/ws/portforward?ports=2222").body(Vec::new());
    upgrade::upgrade(&client, request.expect("a request"), SUBPROTOCOL).await.map(drop)
}

async fn sent(request: Request<Body>, answer: Arc<str>) -> Result<Response<Incoming>, BoxError> {
    let (ours, theirs) = tokio::io::duplex(1 << 10);
    let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await?;
    tokio::spawn(connection.with_upgrades());
    tokio::spawn(served(theirs, answer));
    sender.send_request(request).err_into().await
}

async fn served(mut stream: DuplexStream, answer: Arc<str>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head);
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or_default();
    let answer = answer.replace(ACCEPT, &derive_accept_key(key.as_bytes()));
    stream.write_all(answer.as_bytes()).await.ok();
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> kube::Error {
    kube::Error::Service(Box::new(error))
}
