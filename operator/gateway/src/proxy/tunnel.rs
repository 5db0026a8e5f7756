//! A connection that a workspace has to one host (RFC 9110 §9.3.6). TLS ends here: the gateway stands for the host, and decides on
//! each request. Only what a rule passes through uninspected reaches the host as it is.

use std::{
    convert::Infallible,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use ws_api::{egress::Scheme, reason::Reason};
use ws_policy::{
    class::Policy,
    decide::{Allowed, Tunnel, decide_tunnel},
};

mod passthrough;

use self::passthrough::Passthrough;
use super::{
    Proxy,
    connection::{self, HEADER_TIMEOUT, MAX_HEAD, close_after_refusal, seldom, to_end},
    own,
};

use crate::{
    audit::Subject,
    body::Body,
    exchange::Asker,
    refusal::Refusal,
    request::{Destination, length, within, written_host},
    session::lock,
    standing::Standing,
    web_socket::Conversation,
};

/// How long a client may take to say what it speaks.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// First byte of a TLS record that holds a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// Bytes that are under way on one HTTP/2 connection, which one stream of it may have alone.
const WINDOW: u32 = 256 << 10;
/// Bytes of one answer that wait for a client that does not read, on an HTTP/2 connection.
const UNREAD: usize = 32 << 10;

/// A tunnel that is allowed.
pub struct Opened {
    proxy: Arc<Proxy>,
    asker: Asker,
    destination: Destination,
    way: Way,
}

enum Way {
    /// To the gateway itself: nobody has to allow that.
    Own,
    Inspected(Standing),
    Uninspected(Standing, Box<Passthrough>, TcpStream),
}

/// A tunnel that ends here.
pub fn to_gateway(proxy: &Arc<Proxy>, asker: Asker, destination: Destination) -> Box<Opened> {
    Box::new(Opened { proxy: proxy.clone(), asker, destination, way: Way::Own })
}

/// Readies what a decision allows.
pub async fn open(
    proxy: &Arc<Proxy>,
    asker: Asker,
    destination: Destination,
    tunnel: Tunnel,
    standing: Standing,
) -> Result<Box<Opened>, Refusal> {
    let way = match tunnel {
        Tunnel::Inspected => Way::Inspected(standing),
        Tunnel::Uninspected(allowed) => {
            let subject = subject(&asker, &destination);
            let passage = Passthrough::new(proxy.clone(), asker.session.clone(), subject, allowed);
            let (passage, outside) = passage.dial(&destination.host).await?;
            Way::Uninspected(standing, Box::new(passage), outside)
        }
    };
    Ok(Box::new(Opened { proxy: proxy.clone(), asker, destination, way }))
}

impl Opened {
    /// Serves the tunnel to its end, or until the policy does not allow it any more.
    pub async fn serve(self, stream: TokioIo<Upgraded>, closing: CancellationToken) {
        let Self { proxy, asker, destination, way } = self;
        match way {
            Way::Own => Inspected { proxy, asker, destination }.serve(stream, closing).await,
            Way::Inspected(standing) => {
                let lost = lost(standing, &destination, None);
                let cut = asker.cut.clone();
                let inspected = Inspected { proxy, asker, destination };
                tokio::select! {
                    () = inspected.serve(stream, closing) => (),
                    // Known before what is on the tunnel ends, and ends up in its records.
                    () = async { lost.await; cut.set(Reason::Revoked) } => (),
                }
            }
            Way::Uninspected(standing, passage, outside) => {
                let lost = lost(standing, &destination, Some(passage.allowed().clone()));
                // In a box for the same reason as below. Nobody sees where it might be interrupted, so it ends with the gateway.
                let carried = Box::pin(passage.carry(stream, outside, lost));
                tokio::select! {
                    () = carried => (),
                    () = seldom(closing.cancelled()) => (),
                }
            }
        }
    }
}

/// Resolves when a tunnel is not allowed any more, or not as it was.
fn lost(
    standing: Standing,
    destination: &Destination,
    uninspected: Option<Allowed>,
) -> impl Future<Output = ()> + use<> {
    let (host, port) = (destination.host.clone(), destination.port);
    seldom(standing.lost(move |policy: &Policy| match (decide_tunnel(policy, &host, port), &uninspected) {
        (Ok(Tunnel::Inspected), None) => true,
        (Ok(Tunnel::Uninspected(now)), Some(before)) => now.covers(before),
        _ => false,
    }))
}

/// A tunnel on which each request is decided on.
struct Inspected {
    proxy: Arc<Proxy>,
    asker: Asker,
    destination: Destination,
}

/// What is known of a connection once its client has spoken.
#[derive(Clone, Copy)]
struct Spoken {
    scheme: Scheme,
    /// Whether what it says of its host in TLS is the tunnel's host.
    is_directed: bool,
}

impl Inspected {
    async fn serve(self, mut stream: TokioIo<Upgraded>, closing: CancellationToken) {
        let mut first = [0];
        let Ok(Ok(1)) = timeout(HANDSHAKE, stream.read(&mut first)).await else { return };
        let (reader, writer) = tokio::io::split(stream);
        let stream = tokio::io::join(io::Cursor::new(first).chain(reader), writer);
        let this = Arc::new(self);
        if first != [TLS_HANDSHAKE] {
            let spoken = Spoken { scheme: Scheme::Http, is_directed: true };
            return Box::pin(this.http1(TokioIo::new(stream), spoken, closing)).await;
        }
        // In boxes, so that a tunnel takes the room of what it does, and not of all that it could do.
        match timeout(HANDSHAKE, Box::pin(this.handshake(stream))).await {
            Ok(Ok((stream, spoken))) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                Box::pin(this.http2(TokioIo::new(stream), spoken, closing)).await;
            }
            Ok(Ok((stream, spoken))) => Box::pin(this.http1(TokioIo::new(stream), spoken, closing)).await,
            Ok(Err(error)) => {
                debug!(%error, source = %this.asker.source, "a handshake failed");
                this.refuse_connection();
            }
            Err(_) => this.refuse_connection(),
        }
    }

    /// Ends TLS in the host's stead, whatever the client says of its host: what it then asks for gets a clear answer.
    async fn handshake<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Spoken)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        let is_directed = self.destination.is_named(start.client_hello().server_name());
        let config = self.proxy.authority.server(&self.destination.host).map_err(io::Error::other)?;
        Ok((start.into_stream(config).await?, Spoken { scheme: Scheme::Https, is_directed }))
    }

    async fn http1<S>(self: Arc<Self>, stream: S, spoken: Spoken, closing: CancellationToken)
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let opened = Mutex::new(None);
        let service = service_fn(|request| {
            let (this, opened) = (self.clone(), &opened);
            // hyper keeps room for it as long as the connection is open.
            Box::pin(async move {
                let mut response = this.answer(spoken, request).await;
                close_after_refusal(&mut response);
                if let Some(conversation) = response.extensions_mut().remove::<Conversation>() {
                    *lock(opened) = Some(conversation);
                }
                Ok::<_, Infallible>(response)
            })
        });
        let http = pin!(connection::http1().serve_connection(stream, service).with_upgrades());
        self.ended(to_end(http, &closing, http1::UpgradeableConnection::graceful_shutdown).await);
        let conversation = lock(&opened).take();
        if let Some(conversation) = conversation {
            closing.run_until_cancelled(conversation.carry()).await;
        }
    }

    async fn http2<S>(self: Arc<Self>, stream: S, spoken: Spoken, closing: CancellationToken)
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let this = self.clone();
            async move { Ok::<_, Infallible>(this.answer(spoken, request).await) }
        });
        let http = pin!(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
                .initial_connection_window_size(WINDOW)
                .initial_stream_window_size(WINDOW)
                .max_send_buf_size(UNREAD)
                .keep_alive_interval(HEADER_TIMEOUT)
                .serve_connection(stream, service)
        );
        self.ended(to_end(http, &closing, http2::Connection::graceful_shutdown).await);
    }

    async fn answer(self: Arc<Self>, spoken: Spoken, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let read = if spoken.is_directed {
            within(&self.destination, spoken.scheme, &head, length(&body)).map_err(Refusal::from)
        } else {
            Err(Refusal::Misdirected)
        };
        match read {
            Ok(request) if self.destination.is_gateway() => own::answer(&self.asker.session, &request),
            Ok(request) => self.proxy.exchange(&self.asker, request, &head, body).await,
            Err(refusal) => {
                let host = written_host(&head);
                let subject = Subject { method: head.method.to_string(), host, ..self.subject() };
                self.proxy.refuse(Some(&self.asker.session), &subject, &refusal)
            }
        }
    }

    fn ended(&self, ended: hyper::Result<()>) {
        if let Err(error) = ended {
            debug!(%error, source = %self.asker.source, "a connection in a tunnel broke");
            if error.is_parse() {
                self.refuse_connection();
            }
        }
    }

    /// Records a connection that is neither TLS nor HTTP.
    fn refuse_connection(&self) {
        let refusal = Refusal::NotTls(self.destination.host.clone());
        self.proxy.record(Some(&self.asker.session), &self.subject(), &refusal);
    }

    fn subject(&self) -> Subject {
        subject(&self.asker, &self.destination)
    }
}

fn subject(asker: &Asker, destination: &Destination) -> Subject {
    Subject {
        method: "CONNECT".to_owned(),
        host: destination.host.to_string(),
        port: Some(destination.port),
        source: asker.source,
    }
}
