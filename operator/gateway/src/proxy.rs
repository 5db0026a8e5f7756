//! The proxy port: each connection is attributed to a session, and each request on it is read, decided on, answered and recorded.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{Response, request::Parts};
use hyper::body::Incoming;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use ws_policy::{class::Policy, decide::decide_tunnel};
use ws_runtime::drain;
use ws_ssh::token::Token;

mod connection;
mod greeting;
mod own;
mod statement;
mod stream;
mod tunnel;
use ws_api::reason::Reason;

use crate::{
    audit::{Audit, Passage, Subject},
    authority::Authority,
    body::{Body, Failure, Room},
    credentials::Credentials,
    exchange::Asker,
    metrics::{Decided, Decision, Metrics, ReasonLabel},
    policies::{NoPolicy, Policies},
    proxy::{statement::AgentCall, tunnel::Opened},
    refusal::Refusal,
    report::Reports,
    request::{Asked, Destination, length, written_host},
    session::Session,
    sessions::Sessions,
    sources::Sources,
    standing::Standing,
    upstream::Upstream,
};

const LIMITS: drain::Limits = drain::Limits { connections: 2_048, deadline: Duration::from_secs(5) };
/// Bytes of bodies that are looked into and of messages of `WebSockets`, of all workspaces at once.
pub const BODIES: usize = 96 << 20;
/// What the chart lets the gateway have, in bytes.
const MEMORY: usize = 512 << 20;
// The rest is for the index, the records and what the allocator keeps.
const _: () = assert!(LIMITS.connections * connection::MEMORY + BODIES <= MEMORY * 7 / 8);
/// How long the watches may take to bring a pod, or a workspace, that has begun to talk.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(1);

/// Everything that answers a request.
#[derive(Clone)]
pub struct Proxy {
    pub sessions: watch::Receiver<Sessions>,
    pub policies: watch::Receiver<Policies>,
    pub upstream: Upstream,
    pub credentials: Credentials,
    pub authority: Arc<Authority>,
    pub room: Room,
    pub reports: Reports,
    pub audit: Audit,
    pub metrics: Metrics,
}

/// Who is at the other end of a connection, as far as it shows.
#[derive(Clone, Copy, Debug)]
struct Caller {
    source: IpAddr,
    token: Option<Token>,
}

/// What becomes of a request to the proxy port.
enum Answer {
    Response(Response<Body>),
    /// The connection is from now on one to a host.
    Tunnel(Response<Body>, Box<Opened>),
}

impl Proxy {
    /// Serves the proxy port until `shutdown`.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let sources = Sources::new(LIMITS.connections);
        let proxy = Arc::new(self);
        drain::serve(listener, LIMITS, shutdown, |stream, peer, closing| {
            connection::serve(proxy.clone(), stream, peer.ip().to_canonical(), sources.clone(), closing)
        })
        .await;
    }

    async fn answer(self: &Arc<Self>, caller: &Caller, head: &Parts, body: Incoming) -> Answer {
        let (source, target) = (caller.source, Asked::read(head, length(&body)));
        let session = match self.session(caller).await {
            Ok(session) => session,
            Err(refusal) => return self.denied(None, &subject(source, head, &target), &refusal),
        };
        if let Some(call) = AgentCall::of(head) {
            return Answer::Response(self.answer_agent(call, &session, body).await);
        }
        let asker = Asker { session, source, cut: Failure::default() };
        match target {
            Ok(Asked::Request(request)) => Answer::Response(self.exchange(&asker, request, head, body).await),
            Ok(Asked::Tunnel(ref destination)) => match self.open(&asker, destination).await {
                Ok(opened) => Answer::Tunnel(Response::new(Body::default()), opened),
                Err(refusal) => self.denied(Some(&asker.session), &subject(source, head, &target), &refusal),
            },
            Err(malformed) => {
                self.denied(Some(&asker.session), &subject(source, head, &target), &malformed.into())
            }
        }
    }

    async fn answer_agent(&self, call: AgentCall, session: &Arc<Session>, body: Incoming) -> Response<Body> {
        match call {
            AgentCall::Isolated => {
                statement::take(body, |attempts| self.reports.isolated(session, attempts)).await
            }
            AgentCall::WayOut => {
                match self.policy(session).await {
                    Ok((policy, _)) => statement::way_out(self.authority.certificate(), &policy),
                    // It asked for nothing outside, so nothing was denied.
                    Err(refusal) => refusal.response(),
                }
            }
        }
    }

    /// Decides on a tunnel.
    async fn open(
        self: &Arc<Self>,
        asker: &Asker,
        destination: &Destination,
    ) -> Result<Box<Opened>, Refusal> {
        if destination.is_gateway() {
            return Ok(tunnel::to_gateway(self, asker.clone(), destination.clone()));
        }
        let (policy, standing) = self.policy(&asker.session).await?;
        let tunnel = decide_tunnel(&policy, &destination.host, destination.port)?;
        tunnel::open(self, asker.clone(), destination.clone(), tunnel, standing).await
    }

    /// The session of whoever calls: the address says whose it is, and the token that its agent does the talking.
    async fn session(&self, caller: &Caller) -> Result<Arc<Session>, Refusal> {
        let session = self.session_at(caller.source).await.ok_or(Refusal::UnknownWorkspace)?;
        let token = caller.token.as_ref().ok_or(Refusal::NotTheAgent)?;
        let mut policies = self.policies.clone();
        let uid = &session.identity().workspace_uid;
        let known = policies.wait_for(|policies| policies.host_key(uid).is_some());
        let is_by_agent = match timeout(UNKNOWN_PATIENCE, known).await {
            Ok(Ok(policies)) => policies.host_key(uid).is_some_and(|key| session.is_by_agent(token, key)),
            Ok(Err(_)) | Err(_) => return Err(Refusal::UnknownWorkspace),
        };
        if is_by_agent { Ok(session) } else { Err(Refusal::NotTheAgent) }
    }

    /// The session at an address. A pod may talk before the watch has brought its address.
    async fn session_at(&self, source: IpAddr) -> Option<Arc<Session>> {
        let mut sessions = self.sessions.clone();
        let known = sessions.wait_for(|sessions| sessions.at(source).is_some());
        timeout(UNKNOWN_PATIENCE, known).await.ok()?.ok()?.at(source).cloned()
    }

    /// What a workspace may reach, and who sees it change. Its pod may talk before the watch has brought the workspace.
    pub(crate) async fn policy(&self, session: &Session) -> Result<(Policy, Standing), Refusal> {
        let mut standing = Standing::new(self.policies.clone(), &session.identity().workspace_uid);
        let mut policy = standing.policy();
        if matches!(policy, Err(NoPolicy::Unknown)) {
            // Not to be known is an answer as well, which follows.
            timeout(UNKNOWN_PATIENCE, standing.known()).await.ok();
            policy = standing.policy();
        }
        Ok((policy?, standing))
    }

    /// Records a request that could not even be read.
    async fn unreadable(&self, caller: &Caller) {
        let session = self.session(caller).await.ok();
        let subject =
            Subject { source: caller.source, method: String::new(), host: String::new(), port: None };
        self.record(session.as_ref(), &subject, &Refusal::NotHttp);
    }

    fn denied(&self, session: Option<&Arc<Session>>, subject: &Subject, refusal: &Refusal) -> Answer {
        Answer::Response(self.refuse(session, subject, refusal))
    }

    /// Records a refusal; the answer that says it.
    pub(crate) fn refuse(
        &self,
        session: Option<&Arc<Session>>,
        subject: &Subject,
        refusal: &Refusal,
    ) -> Response<Body> {
        self.record(session, subject, refusal);
        refusal.response()
    }

    fn record(&self, session: Option<&Arc<Session>>, subject: &Subject, refusal: &Refusal) {
        let reason = refusal.reason();
        self.count(Decision::Denied, Some(reason));
        if let Some(session) = session {
            self.reports.denied(session, &subject.host, reason);
        }
        self.audit.denied(session, reason, subject);
    }

    /// Records what was allowed, when it is over.
    pub(crate) fn passed(&self, session: &Arc<Session>, subject: &Subject, passage: Passage) {
        self.count(Decision::Allowed, None);
        self.reports.allowed(session, &passage.rule, passage.sent_bytes, passage.is_missing);
        self.audit.allowed(session, subject, passage);
    }

    fn count(&self, decision: Decision, reason: Option<Reason>) {
        self.metrics.decisions.get_or_create(&Decided { decision, reason: reason.map(ReasonLabel) }).inc();
    }
}

/// What a request is called in the records.
fn subject<E>(source: IpAddr, head: &Parts, asked: &Result<Asked, E>) -> Subject {
    let (host, port) = match asked {
        Ok(asked) => {
            let Destination { host, port } = asked.destination();
            (host.to_string(), Some(port))
        }
        Err(_) => (written_host(head), None),
    };
    Subject { source, method: head.method.to_string(), host, port }
}

#[cfg(test)]
mod tests;
