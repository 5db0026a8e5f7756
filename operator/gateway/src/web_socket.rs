//! `WebSockets` (RFC 6455) that a rule allows. Each side has a handshake and frames of its own with the gateway; what passes is whole
//! messages, counted. No extensions, and nothing of what control frames carry.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
    request::Parts,
};
use hyper::{
    body::Incoming,
    upgrade::{self, OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use tokio::{
    io::{ReadHalf, WriteHalf, split},
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{
    handshake::{client::generate_key, derive_accept_key},
    protocol::frame::coding::{CloseCode, Control, OpCode},
};
use ws_policy::{decide::Allowed, request::Malformed};

// By its path, so that it is also found where this file is: among the fuzz targets.
#[path = "web_socket/frames.rs"]
mod frames;

pub use self::frames::Limits;
use self::frames::{Event, HEAD, Message, PIECE, Reader, Writer};
use ws_api::reason::Reason;

use crate::{
    body::{Body, Lost, Search},
    exchange::Record,
    refusal::Refusal,
    session::lock,
};

const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// How long a conversation lasts in which nobody says anything or asks whether the other is there.
const IDLE: Duration = Duration::from_mins(10);

/// A WebSocket that a request opens.
pub struct Opening {
    /// The workspace's side of the connection.
    inside: OnUpgrade,
    /// What the gateway answers the workspace.
    accept: HeaderValue,
    /// What the host has to answer the gateway.
    expected: HeaderValue,
    limits: Limits,
}

/// What goes along with a conversation until it ends.
pub struct Talk {
    pub allowed: Allowed,
    pub search: Option<Search>,
    pub lost: Lost,
    pub(crate) record: Record,
}

/// A conversation that begins when its answer is sent. It is taken once.
#[derive(Clone)]
pub struct Conversation(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

/// One way of a conversation.
struct Way<'a> {
    from: Reader<ReadHalf<TokioIo<Upgraded>>>,
    to: &'a mut Writer<WriteHalf<TokioIo<Upgraded>>>,
    /// What the side pinged that talks here, last. Who talks to it answers.
    pinged: &'a watch::Sender<Bytes>,
    /// The same of the side that listens.
    to_answer: watch::Receiver<Bytes>,
    pulse: &'a Pulse,
}

/// When a side was last heard.
struct Pulse(Mutex<Instant>);

impl Opening {
    /// Reads a workspace's handshake, and writes the gateway's own into the `headers` that go out.
    pub fn of(head: &Parts, limits: Limits, headers: &mut HeaderMap) -> Result<Self, Refusal> {
        let key = head.headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
        let is_known = head.headers.get(SEC_WEBSOCKET_VERSION) == Some(&VERSION);
        // Only a tunnel's HTTP/1.1 has it.
        let inside = head.extensions.get::<OnUpgrade>().cloned();
        let (Some(key), Some(inside), true) = (key, inside, is_known) else {
            return Err(Malformed::Form.into());
        };
        let own = generate_key();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Refusal::from(Malformed::Form));
        let (accept, expected) =
            (value(&derive_accept_key(key.as_bytes()))?, value(&derive_accept_key(own.as_bytes()))?);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, WEBSOCKET);
        headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
        headers.insert(SEC_WEBSOCKET_KEY, value(&own)?);
        Ok(Self { inside, accept, expected, limits })
    }

    /// Answers the workspace as the host answered, with the conversation that follows.
    pub fn answer(self, answer: Response<Incoming>, talk: Talk) -> Response<Body> {
        if answer.headers().get(SEC_WEBSOCKET_ACCEPT) != Some(&self.expected) {
            return talk.record.fail(&Refusal::NoWebSocket);
        }
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, WEBSOCKET);
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(protocol) = answer.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            if talk.search.as_ref().is_some_and(|search| search.is_in(protocol.as_bytes())) {
                let rule = talk.allowed.rule().name.clone();
                return talk.record.fail(&Refusal::Reflected(rule));
            }
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        response
            .extensions_mut()
            .insert(Conversation::new(Box::pin(self.converse(upgrade::on(answer), talk))));
        response
    }

    /// Carries messages both ways until one side has ended, or it is not allowed any more.
    async fn converse(self, outside: OnUpgrade, talk: Talk) {
        let Self { inside, limits, .. } = self;
        let Ok((inside, outside)) = tokio::try_join!(inside, outside) else { return };
        let (from_workspace, into_workspace) = split(TokioIo::new(inside));
        let (from_host, into_host) = split(TokioIo::new(outside));
        let mut into_workspace = Writer::new(into_workspace, None);
        let mut into_host = Writer::new(into_host, Some(default_provider().secure_random));
        let (by_workspace, by_host) = (watch::Sender::default(), watch::Sender::default());
        let pulse = Pulse(Mutex::new(Instant::now()));
        let outwards = Way {
            from: Reader::new(from_workspace, true, limits.clone()),
            to: &mut into_host,
            pinged: &by_workspace,
            to_answer: by_host.subscribe(),
            pulse: &pulse,
        };
        let inwards = Way {
            from: Reader::new(from_host, false, limits),
            to: &mut into_workspace,
            pinged: &by_host,
            to_answer: by_workspace.subscribe(),
            pulse: &pulse,
        };
        let Talk { allowed, search, lost, record } = talk;
        let ended = tokio::select! {
            ended = to_host(outwards, &allowed, &record) => ended,
            ended = to_workspace(inwards, search, &record) => ended,
            () = pulse.stopped() => Err(Reason::Idle),
            () = lost => Err(Reason::Revoked),
        };
        if let Err(reason) = ended {
            record.tally().failure.set(reason);
        }
        // What the host is told says nothing.
        tokio::join!(into_workspace.close(Some(code(ended))), into_host.close(None));
    }
}

impl Conversation {
    fn new(future: BoxFuture<'static, ()>) -> Self {
        Self(Arc::new(Mutex::new(Some(future))))
    }

    /// Has it, to its end.
    pub async fn carry(self) {
        let future = lock(&self.0).take();
        if let Some(future) = future {
            future.await;
        }
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversation")
    }
}

/// What a workspace says: each message is taken out of the budget before it is sent.
async fn to_host(mut way: Way<'_>, allowed: &Allowed, record: &Record) -> Result<(), Reason> {
    while let Some(Message { kind, bytes }) = way.next().await? {
        // Beside what it says it counts as the longest head of its frame: one that says nothing says something by being there.
        record.spend(allowed, HEAD + bytes.len() as u64).await?;
        way.to.say(OpCode::Data(kind), &bytes).await?;
    }
    Ok(())
}

/// What the host says. Messages are passed on whole, so that one which comes in several is found when half of it has come.
async fn to_workspace(mut way: Way<'_>, mut search: Option<Search>, record: &Record) -> Result<(), Reason> {
    while let Some(Message { kind, bytes }) = way.next().await? {
        record.tally().received.add(bytes.len() as u64);
        if search.as_mut().is_some_and(|search| is_told(search, &bytes)) {
            return Err(Reason::CredentialReflected);
        }
        way.to.say(OpCode::Data(kind), &bytes).await?;
    }
    Ok(())
}

impl Way<'_> {
    /// The next message that says something. Pings are answered where they arrive; what they carry goes no further.
    async fn next(&mut self) -> Result<Option<Message>, Reason> {
        loop {
            let event = tokio::select! {
                event = self.from.next() => event?,
                Ok(()) = self.to_answer.changed() => {
                    let ping = self.to_answer.borrow_and_update().clone();
                    self.to.say(OpCode::Control(Control::Pong), &ping).await?;
                    continue;
                }
            };
            self.pulse.beat();
            match event {
                Event::Message(message) => return Ok(Some(message)),
                Event::Ping(ping) => drop(self.pinged.send_replace(ping)),
                Event::Pong => (),
                Event::Close => return Ok(None),
            }
        }
    }
}

impl Pulse {
    fn beat(&self) {
        *lock(&self.0) = Instant::now();
    }

    /// Resolves when no side was heard for long.
    async fn stopped(&self) {
        loop {
            let end = *lock(&self.0) + IDLE;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// Whether a message holds the credential, or ends with half of it. It is looked at in pieces, which are copied.
fn is_told(search: &mut Search, message: &Bytes) -> bool {
    let pieces = (0..message.len()).step_by(PIECE);
    let mut pieces = pieces.map(|start| message.slice(start..message.len().min(start + PIECE)));
    pieces.any(|piece| search.push(&piece).is_err()) || search.is_close()
}

/// What the workspace is told of how a conversation ended (RFC 6455 §7.4.1).
fn code(ended: Result<(), Reason>) -> u16 {
    let code = match ended {
        Ok(()) => CloseCode::Normal,
        Err(Reason::BrokenOff | Reason::Idle) => CloseCode::Away,
        Err(Reason::Malformed) => CloseCode::Protocol,
        Err(Reason::BodyTooLong) => CloseCode::Size,
        Err(Reason::Overloaded) => CloseCode::Again,
        Err(_) => CloseCode::Policy,
    };
    code.into()
}
