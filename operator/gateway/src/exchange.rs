//! One request that may be allowed, from its decision to the end of its answer.
//!
//! ```text
//! head ─▶ decide ─▶ (body ─▶ decide) ─▶ Allowed ─▶ headers, credential ─▶ upstream ─▶ answer, searched ─▶ workspace
//! ```

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request as HttpRequest, Response, StatusCode,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING},
    request::Parts,
    response::Parts as ResponseParts,
};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;
use ws_policy::{
    class::{Policy, Rule},
    decide::{Allowed, Budget, Decision, Denied, decide},
    request::{Malformed, Request},
};

mod age;
mod inspected;
mod record;

use record::Dues;
pub(crate) use record::Record;
use ws_api::reason::Reason;

use crate::{
    audit::{Passage, Subject},
    body::{Body, BodyError, Failure, Inward, Lost, Outward, Search, Spellings, Tally, drain_unread, whole},
    budget::{self, NotFoundSlot},
    credentials,
    headers::{inward, outward},
    proxy::Proxy,
    refusal::Refusal,
    session::{Session, Turn},
    upstream::Unanswered,
    web_socket::{Limits, Opening, Talk},
};

/// How long a host may take to begin its answer. Models think for minutes.
const ANSWER_PATIENCE: Duration = Duration::from_mins(10);
/// What a request has beside its URL and its headers: method, version, line ends.
const REQUEST_LINE: usize = 16;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    pub session: Arc<Session>,
    pub source: IpAddr,
    /// Why this side ended the connection, if it did, and with it all that was on it.
    pub cut: Failure,
}

/// The body of a request that is allowed.
enum RequestBody {
    /// It had to be looked into.
    Whole(Bytes),
    Stream(Incoming),
}

/// A request that is allowed, ready to be sent but for its body.
struct Admitted {
    allowed: Allowed,
    outgoing: HttpRequest<()>,
    limit: BodyLimit,
    search: Option<Search>,
    lost: Lost,
    record: Record,
    /// What the request opens, if it opens a WebSocket.
    opening: Option<Opening>,
}

/// How long a body may be that is passed on as it comes.
struct BodyLimit {
    left: u64,
    /// What it is if it is longer.
    beyond: BodyError,
}

/// A credential as it goes out, and what must not come back.
struct Injected {
    header: (HeaderName, HeaderValue),
    spellings: Arc<Spellings>,
}

impl Proxy {
    /// Decides on a request, sends it if it is allowed, and answers with what comes back.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        asker: &Asker,
        request: Request,
        head: &Parts,
        mut body: Incoming,
    ) -> Response<Body> {
        let admitted = match asker.session.turn() {
            Some(turn) => self.admit(asker, turn, &request, head, &mut body).await,
            None => Err(Refusal::Busy),
        };
        match admitted {
            Ok((admitted, Some(whole))) => self.carry(admitted, &request, RequestBody::Whole(whole)).await,
            Ok((admitted, None)) => self.carry(admitted, &request, RequestBody::Stream(body)).await,
            Err(refusal) => {
                let refused = self.refuse(Some(&asker.session), &asker.subject(&request), &refusal);
                drain_unread(refused, head.version, body)
            }
        }
    }

    /// Decides on a request, and readies what is allowed. The body comes along if it had to be looked into.
    async fn admit(
        self: &Arc<Self>,
        asker: &Asker,
        turn: Turn,
        request: &Request,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<(Admitted, Option<Bytes>), Refusal> {
        let (policy, standing) = self.policy(&asker.session).await?;
        let own = asker.session.room();
        let (allowed, whole) =
            self.judge(own, decide(&policy, request)?, request, &head.headers, body).await?;
        let length =
            whole.as_ref().map_or_else(|| body.size_hint().exact(), |whole| Some(whole.len() as u64));
        let injected = self.inject(&allowed).await?;
        let mut outgoing = outgoing(request, &allowed, length, injected.as_ref(), &head.headers)?;
        let opening = self.open_web_socket(asker, &allowed, head, outgoing.headers_mut())?;
        let tally = Tally::default();
        let sizes = (size(&outgoing), length);
        let (limit, dues) = self.reserve_budget(asker, turn, &allowed, sizes, &tally).await?;
        let passage = Passage::of(&allowed, Some(&request.path), injected.is_some());
        let record = Record::new(self, asker, request, passage, tally, dues);
        let lost = standing.lost(still_allows(request, &allowed)).boxed().shared();
        let search = injected.map(|injected| Search::new(injected.spellings));
        Ok((Admitted { allowed, outgoing, limit, search, lost, record, opening }, whole))
    }

    /// Reads the handshake of what opens a WebSocket, and writes the gateway's own into the `headers` that go out.
    fn open_web_socket(
        &self,
        asker: &Asker,
        allowed: &Allowed,
        head: &Parts,
        headers: &mut HeaderMap,
    ) -> Result<Option<Opening>, Refusal> {
        let Some(max) = allowed.web_socket() else { return Ok(None) };
        let limits = Limits { max, room: self.room.clone(), own: asker.session.room().clone() };
        Opening::of(head, limits, headers).map(Some)
    }

    /// Sets aside what a request may cost: so many bytes of its head, and of its body if it says how long that is. Counts the head.
    async fn reserve_budget(
        &self,
        asker: &Asker,
        turn: Turn,
        allowed: &Allowed,
        (head, length): (u64, Option<u64>),
        tally: &Tally,
    ) -> Result<(BodyLimit, (Dues, Option<NotFoundSlot>)), Refusal> {
        let max = allowed.max_body();
        let (least, most) = length.map_or((0, max), |length| (length, length));
        let bounds = (head + least, head + most);
        let reserved =
            budget::reserve(&self.reports, &asker.session, allowed, bounds, tally.sent.clone()).await?;
        let slot = budget::not_found_slot(&self.reports, &asker.session, allowed).await?;
        tally.sent.add(head);
        let left = reserved.bytes().map_or(max, |bytes| max.min(bytes.saturating_sub(head)));
        let beyond = if left < max { BodyError::OverBudget } else { BodyError::TooLong };
        Ok((BodyLimit { left, beyond }, (Dues { _turn: turn, _reserved: reserved }, slot)))
    }

    async fn carry(&self, admitted: Admitted, request: &Request, body: RequestBody) -> Response<Body> {
        let Admitted { allowed, outgoing, limit, search, lost, record, opening } = admitted;
        let outgoing = outgoing.map(|()| body.sent(limit, &record, &lost));
        let answer = tokio::select! {
            answer = timeout(ANSWER_PATIENCE, self.upstream.send(record.session(), &allowed, outgoing)) => answer,
            () = lost.clone() => return record.fail(&Refusal::Revoked(request.host.clone())),
        };
        let answer = match answer.unwrap_or_else(|_| Err(Unanswered::Failed("no answer in time".to_owned())))
        {
            Ok(answer) => answer,
            Err(unanswered) => return not_answered(unanswered, record, &allowed, request),
        };
        record.answered(answer.status());
        if let Some(opening) = opening.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
            return opening.answer(answer, Talk { allowed, search, lost, record });
        }
        // Nothing else that is sent asks for another protocol, so nothing comes of what would follow.
        if answer.status().is_informational() {
            let failed = Unanswered::Failed(format!("it answered {}", answer.status()));
            return record.fail(&failed.refusal(&request.host));
        }
        let (mut parts, body) = answer.into_parts();
        if let Err(refusal) = age::check(&allowed, &parts, SystemTime::now()) {
            return record.fail(&refusal);
        }
        if let Err(refusal) = come_back(&mut parts, search.as_ref(), allowed.rule()) {
            return record.fail(&refusal);
        }
        let tally = record.tally().clone();
        let body = Inward { inner: body, search, trailers: None, lost, tally, record };
        Response::from_parts(parts, body.boxed_unsync())
    }

    async fn inject(&self, allowed: &Allowed) -> Result<Option<Injected>, Refusal> {
        let rule = allowed.rule();
        let Some(credential) = &rule.credential else { return Ok(None) };
        let unreadable =
            |_| Refusal::NoCredential { rule: rule.name.clone(), secret: credential.secret_name.clone() };
        let value = self.credentials.get(credential).await.map_err(unreadable)?;
        let header = credentials::header(credential, &value).map_err(unreadable)?;
        let spellings = value.spellings.clone();
        Ok(Some(Injected { header: (credential.header.clone(), header), spellings }))
    }
}

/// Whether a policy still allows what a request was allowed by. Its body is not judged again, which is on its way: what is looked into
/// must be looked into as it was.
fn still_allows(request: &Request, allowed: &Allowed) -> impl Fn(&Policy) -> bool + Send + Sync + 'static {
    let (request, allowed) = (request.clone(), allowed.clone());
    move |policy| match decide(policy, &request) {
        Ok(Decision::Allowed(now)) => now.covers(&allowed),
        Ok(Decision::NeedsBody(undecided)) => undecided.covers(&allowed),
        Err(_) => false,
    }
}

/// The request as it is sent: nothing in it is the client's bytes but the body.
fn outgoing(
    request: &Request,
    allowed: &Allowed,
    length: Option<u64>,
    injected: Option<&Injected>,
    written: &HeaderMap,
) -> Result<HttpRequest<()>, Refusal> {
    // What has no allowance is a connection and no request.
    let allowance = allowed.allowance().ok_or(Malformed::Form)?;
    let mut headers = outward(allowance, injected.map(|injected| injected.header.clone()), written);
    if let Some(length) = length.filter(|length| *length > 0 || allowance.body.is_some()) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    // It goes in chunks, which not every host reads: it would take them for the next request, and answer that one.
    if length.is_none() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut outgoing = HttpRequest::new(());
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = request.target().parse().map_err(|_| Malformed::Form)?;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

/// What a workspace is told that gets no answer.
fn not_answered(
    unanswered: Unanswered,
    mut record: Record,
    allowed: &Allowed,
    request: &Request,
) -> Response<Body> {
    if unanswered == Unanswered::SpecialAddress {
        return record.deny(&unanswered.refusal(&request.host));
    }
    if let Unanswered::Unreachable(_) = unanswered {
        record.unsent();
    }
    // Perhaps it was the body that did not come to its end.
    let cut = cut(&record, allowed, request);
    record.fail(&cut.unwrap_or_else(|| unanswered.refusal(&request.host)))
}

/// Why a body ended before its end.
fn cut(record: &Record, allowed: &Allowed, request: &Request) -> Option<Refusal> {
    let rule = allowed.rule().name.clone();
    match record.tally().failure.get()? {
        Reason::BodyTooLong => {
            Some(Denied::BodyTooLong { host: request.host.clone(), rule, max: allowed.max_body() }.into())
        }
        Reason::OverBudget => {
            let Budget { life, request } = allowed.budget();
            let max = request.or(life.map(|(_, bytes)| bytes)).unwrap_or_default();
            Some(Refusal::Spent { rule, max })
        }
        Reason::BrokenOff => Some(Refusal::BrokenOff),
        _ => None,
    }
}

/// Makes the head of an answer one for the workspace.
fn come_back(parts: &mut ResponseParts, search: Option<&Search>, rule: &Rule) -> Result<(), Refusal> {
    // It was not asked for an encoding; what is in one cannot be searched.
    let is_encoded = parts.headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity")
        || parts.headers.get_all(TRANSFER_ENCODING).iter().any(|encoding| encoding != "chunked");
    inward(&mut parts.headers);
    parts.extensions.clear();
    let Some(search) = search else { return Ok(()) };
    let shows = |(name, value): (&HeaderName, &HeaderValue)| {
        search.is_in(value.as_bytes()) || search.is_in(name.as_str().as_bytes())
    };
    if is_encoded || parts.headers.iter().any(shows) {
        return Err(Refusal::Reflected(rule.name.clone()));
    }
    // A session that was opened with the credential is as good as that for who can send it elsewhere; through here no cookie goes out.
    parts.headers.remove(SET_COOKIE);
    Ok(())
}

fn size(request: &HttpRequest<()>) -> u64 {
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    (REQUEST_LINE + request.uri().path().len() + request.uri().query().map_or(0, str::len) + headers) as u64
}

impl RequestBody {
    /// The body as it is sent.
    fn sent(self, limit: BodyLimit, record: &Record, lost: &Lost) -> Body {
        match self {
            Self::Whole(bytes) => {
                record.tally().sent.add(bytes.len() as u64);
                whole(bytes)
            }
            Self::Stream(inner) => {
                let BodyLimit { left, beyond } = limit;
                let (tally, lost, record) = (record.tally().clone(), lost.clone(), record.under_way());
                Outward { inner, left, beyond: Some(beyond), tally, lost, record }.boxed_unsync()
            }
        }
    }
}

impl Asker {
    /// What a request is called in the records.
    pub fn subject(&self, request: &Request) -> Subject {
        Subject {
            method: request.method.to_string(),
            host: request.host.to_string(),
            port: Some(request.port),
            source: self.source,
        }
    }
}
