//! The way to the hosts outside. It needs a decision: names are resolved once a request is allowed, and only addresses that are
//! the internet's are dialled.

use std::{error::Error as StdError, io, time::Duration};

use http::{Request, Response, Uri, uri::InvalidUri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Builder, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower::ServiceExt as _;
use ws_policy::{decide::Allowed, host::Host, request::Origin};

mod resolve;

pub use resolve::{Lookup, Resolve};

use crate::{
    body::Body, refusal::Refusal, session::Session, sources::MAX_CONNECTIONS,
    upstream::resolve::OnlySpecialAddresses,
};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections to one host: as many as one workspace may use at once. Fewer are opened anew for every other request of a
/// busy workspace.
const IDLE_PER_HOST: usize = MAX_CONNECTIONS;

/// Bytes that wait on a connection of HTTP/1.1 for a workspace that does not read, up to three times: as they were read, and as two pieces
/// on their way.
const UNREAD: usize = 64 << 10;
/// Bytes that are under way on one HTTP/2 connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes that are under way on one stream of it.
const STREAM_WINDOW: u32 = 512 << 10;

/// Sends what is allowed.
#[derive(Clone)]
pub struct Upstream {
    outside: HttpsConnector<HttpConnector<Resolve>>,
    /// The same, but by HTTP/1.1 alone, on which a WebSocket is opened.
    web_sockets: HttpsConnector<HttpConnector<Resolve>>,
    /// Services of the cluster, whose addresses are special by nature.
    services: HttpConnector<Resolve>,
    resolve: Resolve,
}

/// The connections of one workspace. No other uses them: who does not read the answers on a connection of HTTP/2 holds up whatever
/// else is asked for on it.
#[derive(Debug)]
pub struct Connections {
    outside: Client<HttpsConnector<HttpConnector<Resolve>>, Body>,
    web_sockets: Client<HttpsConnector<HttpConnector<Resolve>>, Body>,
    services: Client<HttpConnector<Resolve>, Body>,
}

/// Why a request that is allowed was not answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unanswered {
    #[error("all of its addresses are special ones")]
    SpecialAddress,
    /// Nothing was sent.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Failed(String),
}

impl Unanswered {
    /// What a workspace is told that asked for this host.
    pub fn refusal(self, host: &Host) -> Refusal {
        let host = host.clone();
        match self {
            Self::SpecialAddress => Refusal::SpecialAddress(host),
            Self::Unreachable(problem) | Self::Failed(problem) => Refusal::Unreachable { host, problem },
        }
    }
}

impl Upstream {
    /// `resolve` finds hosts, `services` those of the cluster; `tls` says whom to trust, and its protocols are set here.
    pub fn new(resolve: Resolve, services: Resolve, tls: ClientConfig) -> Self {
        let web_sockets = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector(resolve.clone()));
        let outside = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(connector(resolve.clone()));
        let services = connector(services);
        Self { outside, web_sockets, services, resolve }
    }

    /// Sends a request of a workspace to whom it is allowed to. It says what it asks for, and not whom.
    pub async fn send(
        &self,
        session: &Session,
        allowed: &Allowed,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Unanswered> {
        *request.uri_mut() = url(allowed.origin(), request.uri())?;
        let connections = session.connections(|| Connections {
            outside: builder().build(self.outside.clone()),
            web_sockets: builder().build(self.web_sockets.clone()),
            services: builder().build(self.services.clone()),
        });
        let sent = if allowed.rule().is_service {
            connections.services.request(request)
        } else if allowed.web_socket().is_some() {
            connections.web_sockets.request(request)
        } else {
            connections.outside.request(request)
        };
        sent.await.map_err(|error| unanswered(&error, error.is_connect()))
    }

    /// Opens a connection that is not looked into. Whatever allows it, it leads outside.
    pub async fn open(&self, allowed: &Allowed) -> Result<TcpStream, Unanswered> {
        let url = url(allowed.origin(), &Uri::from_static("/"))?;
        let stream = connector(self.resolve.clone()).oneshot(url).await;
        Ok(stream.map_err(|error| unanswered(&error, true))?.into_inner())
    }
}

/// The URL of what a request asks an origin for.
fn url(origin: &Origin, target: &Uri) -> Result<Uri, Unanswered> {
    let target = target.path_and_query().map_or("/", |target| target.as_str());
    format!("{origin}{target}").parse().map_err(|error: InvalidUri| Unanswered::Failed(error.to_string()))
}

fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http1_max_buf_size(UNREAD)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_initial_stream_window_size(STREAM_WINDOW);
    builder
}

fn connector(resolve: Resolve) -> HttpConnector<Resolve> {
    let mut connector = HttpConnector::new_with_resolver(resolve);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    connector
}

fn unanswered(error: &(dyn StdError + 'static), is_unreachable: bool) -> Unanswered {
    let causes =
        || std::iter::successors(Some(error), |error: &&(dyn StdError + 'static)| (**error).source());
    let is_special = |cause: &(dyn StdError + 'static)| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is::<OnlySpecialAddresses>()
            || inner.is_some_and(<dyn StdError + Send + Sync>::is::<OnlySpecialAddresses>)
    };
    if causes().any(is_special) {
        return Unanswered::SpecialAddress;
    }
    // The last one says what happened, those before it where.
    let problem = causes().last().map_or_else(|| error.to_string(), ToString::to_string);
    if is_unreachable { Unanswered::Unreachable(problem) } else { Unanswered::Failed(problem) }
}
