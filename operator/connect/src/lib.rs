//! The connection to the API server, as every part of ws makes it.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt as _, retry::RetryPolicy},
};
use tower::{BoxError, ServiceBuilder, retry::RetryLayer};
use tower_http::trace::TraceLayer;

/// A connection on which nothing comes is probed after this time, this often, and is over when no probe is answered: 45 s in all,
/// as in Kubernetes' own clients. A watch would otherwise stay silent for ever on a connection whose other end is gone.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// A client whose requests leave at once, and whose watches notice that nobody is there any more.
///
/// The client that kube makes by itself leaves Nagle's algorithm on ([RFC 9293, section 3.7.4]) and keep-alives
/// ([RFC 9293, section 3.8.4]) off. The first request of a resumed TLS session then waits for the API server's delayed
/// acknowledgement, 40 ms, and every way to a pod begins with such a request.
///
/// Behind the proxy that a configuration names there is no other way than kube's.
///
/// # Errors
///
/// If the configuration's certificates or credentials cannot be used.
///
/// [RFC 9293, section 3.7.4]: https://www.rfc-editor.org/rfc/rfc9293#section-3.7.4
/// [RFC 9293, section 3.8.4]: https://www.rfc-editor.org/rfc/rfc9293#section-3.8.4
pub fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp())?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(TraceLayer::new_for_http().on_eos(()).on_failure(()))
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE_IDLE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    tcp
}
