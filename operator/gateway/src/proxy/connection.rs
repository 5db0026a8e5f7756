//! One connection to the proxy port: one request (RFC 9112), its answer, and a close that does not lose the answer.

use std::{convert::Infallible, future::poll_fn, net::IpAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    net::TcpStream,
    time::timeout,
};
use tracing::debug;

use super::Proxy;
use crate::sources::Sources;

const MAX_HEAD: usize = 16 << 10;
/// Bytes that a connection takes whose head is as long as it may be, as read and as parsed. Measured.
pub const MEMORY: usize = 52 << 10;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long, and for how many bytes, a client is listened to that still sends while it has its answer already.
const LINGER: (Duration, u64) = (Duration::from_secs(2), 1 << 20);

pub async fn serve(proxy: Arc<Proxy>, stream: TcpStream, source: IpAddr, sources: Sources) {
    let Some(_place) = sources.enter(source) else {
        proxy.metrics.crowded.inc();
        return;
    };
    proxy.metrics.connections.inc();
    let _open = Open(&proxy);
    let service = service_fn(|request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let answer = proxy.answer(source, head, body);
        Box::pin(async { Ok::<_, Infallible>(answer.await) })
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false);
    let mut http = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = poll_fn(|cx| http.poll_without_shutdown(cx)).await {
        debug!(%error, %source, "a connection broke");
        if error.is_parse() {
            proxy.unreadable(source);
        }
    }
    close(http.into_parts().io.into_inner()).await;
}

/// Closes the stream so that what was sent arrives: a close with bytes unread resets the connection, and the client may lose
/// the answer (RFC 9112 §9.6).
async fn close(mut stream: TcpStream) {
    let (time, bytes) = LINGER;
    let drain = async {
        stream.shutdown().await?;
        copy(&mut stream.take(bytes), &mut sink()).await
    };
    // A client that is gone has nothing left to lose.
    timeout(time, drain).await.ok();
}

/// Counts a connection as open until it is dropped.
struct Open<'a>(&'a Proxy);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}
