//! The proxy port: each request is read, attributed to a session, decided on, answered and recorded.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::Body;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use ws_runtime::drain;

mod connection;
mod statement;

use crate::{
    audit::{Audit, Denial},
    decide::{Policy, decide},
    metrics::{Decided, Decision, Metrics},
    refusal::{DENIED_HEADER, Refusal},
    report::Reports,
    request::{Malformed, Request, written_host},
    session::Session,
    sessions::Sessions,
    sources::Sources,
};

const LIMITS: drain::Limits = drain::Limits { connections: 3_072, deadline: Duration::from_secs(5) };
/// What the chart lets the gateway have, in bytes.
const MEMORY: usize = 256 << 20;
// 156 MiB for connections; the rest is for the index, the records and what the allocator keeps.
const _: () = assert!(LIMITS.connections * connection::MEMORY <= MEMORY * 5 / 8);
/// How long the watch may take to bring the address of a pod that has begun to talk.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(1);

/// Everything that answers a request.
#[derive(Clone)]
pub struct Proxy {
    pub sessions: watch::Receiver<Sessions>,
    pub reports: Reports,
    pub audit: Audit,
    pub metrics: Metrics,
}

impl Proxy {
    /// Serves the proxy port until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let sources = Sources::default();
        let proxy = Arc::new(self);
        // A connection carries one request, so the shutdown asks nothing of it: it is at its end anyway.
        drain::serve(listener, LIMITS, shutdown, |stream, peer, _| {
            connection::serve(proxy.clone(), stream, peer.ip().to_canonical(), sources.clone())
        })
        .await;
    }

    async fn answer<B>(&self, source: IpAddr, head: Parts, body: B) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let request = Request::read(&head);
        let denial = denial(source, &head, request.as_ref());
        let Some(session) = self.session(source).await else {
            return self.refuse(None, &denial, &Refusal::UnknownWorkspace);
        };
        if statement::is_meant(&head) {
            return statement::take(body, |attempts| self.reports.isolated(&session, attempts)).await;
        }
        let refusal = match request {
            Ok(request) => {
                let policy = Policy { class: &session.identity().class };
                let Err(denied) = decide(&policy, &request);
                denied.into()
            }
            Err(malformed) => malformed.into(),
        };
        self.refuse(Some(&session), &denial, &refusal)
    }

    /// The session at an address. A pod may talk before the watch has brought its address.
    async fn session(&self, source: IpAddr) -> Option<Arc<Session>> {
        let mut sessions = self.sessions.clone();
        let known = sessions.wait_for(|sessions| sessions.at(source).is_some());
        timeout(UNKNOWN_PATIENCE, known).await.ok()?.ok()?.at(source).cloned()
    }

    /// Records a request that could not even be read.
    fn unreadable(&self, source: IpAddr) {
        let session = self.sessions.borrow().at(source).cloned();
        let denial = Denial { source, method: String::new(), host: String::new(), port: None };
        self.record(session.as_ref(), &denial, &Refusal::NotHttp);
    }

    fn refuse(
        &self,
        session: Option<&Arc<Session>>,
        denial: &Denial,
        refusal: &Refusal,
    ) -> Response<Full<Bytes>> {
        self.record(session, denial, refusal);
        let mut response = text(refusal.status(), refusal);
        response.headers_mut().insert(DENIED_HEADER, HeaderValue::from_static(refusal.reason().as_str()));
        response
    }

    fn record(&self, session: Option<&Arc<Session>>, denial: &Denial, refusal: &Refusal) {
        let reason = refusal.reason();
        self.metrics.decisions.get_or_create(&Decided { decision: Decision::Denied, reason }).inc();
        if let Some(session) = session {
            self.reports.denied(session, &denial.host);
        }
        self.audit.denied(session, reason, denial);
    }
}

fn denial(source: IpAddr, head: &Parts, request: Result<&Request, &Malformed>) -> Denial {
    let (host, port) = match request {
        Ok(request) => (request.host.to_string(), Some(request.port)),
        Err(_) => (written_host(head), None),
    };
    Denial { source, method: head.method.to_string(), host, port }
}

/// One line for people.
fn text(status: StatusCode, line: &impl std::fmt::Display) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("ws: {line}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
