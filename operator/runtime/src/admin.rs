//! The endpoint for the kubelet and Prometheus: `/livez`, `/readyz`, `/metrics` over HTTP/1.1.

use std::{convert::Infallible, future::ready, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::drain;

mod readiness;

pub use readiness::{BlockReady, Readiness};

const LIMITS: drain::Limits = drain::Limits { connections: 64, deadline: Duration::from_secs(1) };
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the endpoint on `listener` until `shutdown`.
///
/// `/livez` says that the process can answer, `/readyz` that nothing blocks `readiness` (otherwise 503 and what does),
/// `/metrics` what is in `registry`, as [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    registry: Registry,
    shutdown: CancellationToken,
) {
    let registry = Arc::new(registry);
    drain::serve(listener, LIMITS, shutdown, |stream, _, closing| {
        connection(stream, readiness.clone(), registry.clone(), closing)
    })
    .await;
}

async fn connection(
    stream: TcpStream,
    readiness: Readiness,
    registry: Arc<Registry>,
    closing: CancellationToken,
) {
    let service = service_fn(|request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(respond(request.method(), request.uri().path(), &readiness, &registry)))
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "an admin connection broke");
    }
}

fn respond(method: &Method, path: &str, readiness: &Readiness, registry: &Registry) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".into());
    }
    match path {
        "/livez" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => match readiness.blockers() {
            blockers if blockers.is_empty() => text(StatusCode::OK, "ok\n".into()),
            blockers => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", blockers.join(", ")))
            }
        },
        "/metrics" => metrics(registry),
        _ => text(StatusCode::NOT_FOUND, "served here: /livez /readyz /metrics\n".into()),
    }
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut body = String::new();
    match text::encode(&mut body, registry) {
        Ok(()) => response(StatusCode::OK, OPENMETRICS, body),
        Err(error) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("a metric cannot be written: {error}\n"))
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body)
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Status line and last line of the body.
    async fn ask(admin: std::net::SocketAddr, request_line: &str) -> (String, String) {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        let request = format!("{request_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.lines().next().unwrap().into(), answer.lines().last().unwrap().into())
    }

    #[tokio::test]
    async fn the_endpoint_tells_life_from_readiness() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = listener.local_addr().unwrap();
        let readiness = Readiness::default();
        let cache = readiness.block("cache");
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        registry.register("decisions", "Decisions", counter.clone());
        counter.inc_by(3);
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, readiness, registry, shutdown.clone()));

        let answer = |status: &str, body: &str| (format!("HTTP/1.1 {status}"), body.to_owned());
        assert_eq!(ask(admin, "GET /livez").await, answer("200 OK", "ok"));
        assert_eq!(ask(admin, "GET /readyz").await, answer("503 Service Unavailable", "waiting for: cache"));
        drop(cache);
        assert_eq!(ask(admin, "GET /readyz").await, answer("200 OK", "ok"));
        assert_eq!(ask(admin, "GET /metrics").await, answer("200 OK", "# EOF"));
        assert_eq!(ask(admin, "GET /").await.0, "HTTP/1.1 404 Not Found");
        assert_eq!(ask(admin, "POST /livez").await.0, "HTTP/1.1 405 Method Not Allowed");
        shutdown.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        use http_body_util::BodyExt as _;

        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        registry.register("decisions", "Decisions", counter.clone());
        counter.inc_by(3);
        let response = respond(&Method::GET, "/metrics", &Readiness::default(), &registry);
        assert_eq!(response.headers()[header::CONTENT_TYPE], OPENMETRICS);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            str::from_utf8(&body).unwrap(),
            "# HELP decisions Decisions.\n# TYPE decisions counter\ndecisions_total 3\n# EOF\n"
        );
    }
}
