//! `WebSockets` (RFC 6455) that a rule allows. Each side has a handshake and frames of its own with the gateway; what passes is whole
//! messages, counted. No extensions, and nothing of what control frames carry.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _, future::BoxFuture};
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
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};
use ws_policy::{decide::Allowed, request::Malformed};

use crate::{
    body::{Body, Lost, Place, Search},
    exchange::Record,
    refusal::{Reason, Refusal},
    session::lock,
};

const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// Bytes that are read at once.
const PIECE: usize = 16 << 10;
/// What a message is counted as beside what it says: the longest head of its frame (RFC 6455 §5.2). One that says nothing says
/// something by being there.
const HEAD: u64 = 14;

/// A WebSocket that a request opens.
pub struct Opening {
    /// The workspace's side of the connection.
    inside: OnUpgrade,
    /// What the gateway answers the workspace.
    accept: HeaderValue,
    /// What the host has to answer the gateway.
    expected: HeaderValue,
    /// The most bytes of a message.
    max: u64,
    place: Place,
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

type Socket = WebSocketStream<TokioIo<Upgraded>>;

impl Opening {
    /// Reads a workspace's handshake, and writes the gateway's own into the `headers` that go out.
    pub fn of(head: &Parts, max: u64, place: Place, headers: &mut HeaderMap) -> Result<Self, Refusal> {
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
        Ok(Self { inside, accept, expected, max, place })
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
                let rule = talk.allowed.rule_name().to_owned();
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
        let Self { inside, max, place: _place, .. } = self;
        let Ok((inside, outside)) = tokio::try_join!(inside, outside) else { return };
        let (inside, outside) =
            (socket(inside, Role::Server, max).await, socket(outside, Role::Client, max).await);
        let ((to_inside, from_inside), (to_outside, from_outside)) = (inside.split(), outside.split());
        let Talk { allowed, search, lost, record } = talk;
        let failure = &record.tally().failure;
        tokio::select! {
            ended = there(from_inside, to_outside, &allowed, &record) => {
                if let Err(reason) = ended {
                    failure.set(reason);
                }
            }
            ended = back(from_outside, to_inside, search, &record) => {
                if let Err(reason) = ended {
                    failure.set(reason);
                }
            }
            () = lost => failure.set(Reason::Revoked),
        }
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

async fn socket(stream: Upgraded, role: Role, max: u64) -> Socket {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let config = WebSocketConfig::default()
        .read_buffer_size(PIECE)
        .write_buffer_size(0)
        .max_write_buffer_size(max.saturating_mul(2).max(PIECE))
        .max_message_size(Some(max))
        .max_frame_size(Some(max));
    WebSocketStream::from_raw_socket(TokioIo::new(stream), role, Some(config)).await
}

/// What a workspace says: each message is taken out of the budget before it is sent.
async fn there(
    mut from: impl Stream<Item = tungstenite::Result<Message>> + Unpin,
    mut to: impl Sink<Message> + Unpin,
    allowed: &Allowed,
    record: &Record,
) -> Result<(), Reason> {
    while let Some(message) = next(&mut from).await? {
        record.spend(allowed, HEAD + message.len() as u64).await?;
        if to.send(message).await.is_err() {
            break;
        }
    }
    to.close().await.ok();
    Ok(())
}

/// What the host says. Messages are passed on whole, so that one which comes in several is found when half of it has come.
async fn back(
    mut from: impl Stream<Item = tungstenite::Result<Message>> + Unpin,
    mut to: impl Sink<Message> + Unpin,
    mut search: Option<Search>,
    record: &Record,
) -> Result<(), Reason> {
    while let Some(message) = next(&mut from).await? {
        record.tally().received.add(message.len() as u64);
        let data: Bytes = message.clone().into_data();
        if search.as_mut().is_some_and(|search| search.push(&data).is_err() || search.is_close()) {
            return Err(Reason::CredentialReflected);
        }
        if to.send(message).await.is_err() {
            break;
        }
    }
    to.close().await.ok();
    Ok(())
}

/// The next message that says something. Pings are answered where they arrive; what they carry goes no further.
async fn next(
    from: &mut (impl Stream<Item = tungstenite::Result<Message>> + Unpin),
) -> Result<Option<Message>, Reason> {
    loop {
        match from.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(Some(message)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => (),
            Some(Err(tungstenite::Error::Capacity(_))) => return Err(Reason::BodyTooLong),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
        }
    }
}
