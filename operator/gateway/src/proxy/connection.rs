//! One connection to the proxy port: requests one after another (RFC 9112), or a tunnel.

use std::{
    convert::Infallible,
    future::pending,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use http::{HeaderValue, Request, Response, header::CONNECTION};
use hyper::{
    body::Incoming,
    server::conn::http1::{self, UpgradeableConnection},
    service::service_fn,
    upgrade::{self, OnUpgrade},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Answer, Caller, Proxy, greeting, stream::Lingering, tunnel::Opened};
use crate::{body::Body, refusal::DENIED_HEADER, session::lock, sources::Sources};

/// Longest head of a request, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
/// Bytes that a connection is reckoned to take at most: a tunnel with its TLS, and two heads as long as they may be.
pub const MEMORY: usize = 160 << 10;
/// How long a head may take, and how long a connection may wait for its next request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub async fn serve(
    proxy: Arc<Proxy>,
    mut stream: TcpStream,
    source: IpAddr,
    sources: Sources,
    closing: CancellationToken,
) {
    let Some(_place) = sources.enter(source) else {
        proxy.metrics.rejected.inc();
        return;
    };
    proxy.metrics.connections.inc();
    let _open = Open(&proxy);
    // What is small waits for nobody: a handshake, an event of a stream. Without it, it is only slower.
    stream.set_nodelay(true).ok();
    let Ok(Ok(token)) = timeout(HEADER_TIMEOUT, greeting::token(&mut stream)).await else { return };
    let caller = Caller { source, token };
    // What requests took room for is given back before the tunnel begins.
    let Some((upgrade, opened)) = Box::pin(requests(&proxy, stream, caller, &closing)).await else { return };
    match upgrade.await {
        Ok(stream) => Box::pin(opened.serve(TokioIo::new(stream), closing)).await,
        Err(error) => debug!(%error, %source, "a tunnel was not taken"),
    }
}

/// Answers one request after another, until the connection is at its end or a tunnel.
async fn requests(
    proxy: &Arc<Proxy>,
    stream: TcpStream,
    caller: Caller,
    closing: &CancellationToken,
) -> Option<(OnUpgrade, Box<Opened>)> {
    let tunnel = Arc::new(Mutex::new(None));
    let service = service_fn(|mut request: Request<Incoming>| {
        let (proxy, tunnel) = (proxy.clone(), tunnel.clone());
        Box::pin(async move {
            let upgrade = upgrade::on(&mut request);
            let (head, body) = request.into_parts();
            Ok::<_, Infallible>(match proxy.answer(&caller, &head, body).await {
                Answer::Response(mut response) => {
                    close_after_refusal(&mut response);
                    response
                }
                Answer::Tunnel(response, opened) => {
                    *lock(&tunnel) = Some((upgrade, opened));
                    response
                }
            })
        })
    });
    let http = pin!(http1().serve_connection(TokioIo::new(Lingering::new(stream)), service).with_upgrades());
    if let Err(error) = to_end(http, closing, UpgradeableConnection::graceful_shutdown).await {
        debug!(%error, source = %caller.source, "a connection broke");
        if error.is_parse() {
            proxy.unreadable(&caller).await;
        }
    }
    lock(&tunnel).take()
}

/// How HTTP/1.1 is read from a workspace.
pub fn http1() -> http1::Builder {
    let mut http1 = http1::Builder::new();
    http1.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    http1.max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD);
    http1
}

/// Serves a connection to its end; once it is `closing`, to the end of what is under way on it.
pub async fn to_end<C: Future>(
    mut http: Pin<&mut C>,
    closing: &CancellationToken,
    shut_down: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    tokio::select! {
        ended = &mut http => ended,
        () = seldom(closing.cancelled()) => {
            shut_down(http.as_mut());
            http.await
        }
    }
}

/// Looks at something that is waited for when it says so itself, and not whenever what it is waited for beside makes a step: that all
/// connections wait for the same would be a lock that each of them takes for each piece it carries.
pub async fn seldom<F: Future>(waited_for: F) -> F::Output {
    let mut waited_for = FuturesUnordered::from_iter([waited_for]);
    match waited_for.next().await {
        Some(output) => output,
        None => pending().await,
    }
}

/// Whoever is refused has to begin anew: nothing that follows on the connection is taken for a request.
pub fn close_after_refusal(response: &mut Response<Body>) {
    if response.headers().contains_key(DENIED_HEADER) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Counts a connection as open until it is dropped.
struct Open<'a>(&'a Proxy);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}
