//! A `WebSocket` through the gateway: whole messages pass, bounded and counted, and nothing of what control frames or handshakes carry.
//! An input is header lines of the workspace's handshake, header lines of the host's answer, what the workspace sends then, and what
//! the host sends then.

#![no_main]

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use futures::FutureExt as _;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY},
};
use hyper::{body::Incoming, client, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    runtime::Builder,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::{Allowed, Decision, decide},
    request::{Length, Request as Asked},
};

use crate::{
    body::{Body, OwnRoom, Room},
    exchange::Record,
    frames::Frames,
    parts::parts,
    refusal::Reason,
    scrub::{Search, Spellings},
    web_socket::{Conversation, Limits, Opening, Talk},
};

mod frames;
mod parts;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/body/room.rs"]
mod room;
#[allow(dead_code)]
#[path = "../../operator/gateway/src/body/scrub.rs"]
mod scrub;
#[path = "../../operator/gateway/src/web_socket.rs"]
mod web_socket;

/// What the gateway's WebSockets need of it.
mod body {
    pub use crate::{
        room::{BodyPermit, OwnRoom, Room},
        scrub::Search,
    };

    pub type Body = http_body_util::Full<bytes::Bytes>;
    pub type Lost = futures::future::BoxFuture<'static, ()>;
}
mod exchange {
    use std::sync::{Arc, Mutex};

    use http::{Response, StatusCode};
    use ws_policy::decide::Allowed;

    use crate::{
        body::Body,
        refusal::{Reason, Refusal},
    };

    /// Keeps what it is told. Clones share it.
    #[derive(Clone, Default)]
    pub struct Record(Arc<Tally>);

    #[derive(Default)]
    pub struct Tally {
        pub sent: Counter,
        pub received: Counter,
        pub failure: Failure,
    }

    #[derive(Default)]
    pub struct Counter(Mutex<u64>);

    #[derive(Default)]
    pub struct Failure(Mutex<Option<Reason>>);

    impl Record {
        pub fn tally(&self) -> &Tally {
            &self.0
        }

        pub async fn spend(&self, _: &Allowed, bytes: u64) -> Result<(), Reason> {
            self.0.sent.add(bytes);
            Ok(())
        }

        pub fn fail(self, _: &Refusal) -> Response<Body> {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }

    impl Counter {
        pub fn add(&self, bytes: u64) {
            *self.0.lock().expect("one thread") += bytes;
        }

        pub fn get(&self) -> u64 {
            *self.0.lock().expect("one thread")
        }
    }

    impl Failure {
        pub fn set(&self, reason: Reason) {
            self.0.lock().expect("one thread").get_or_insert(reason);
        }

        pub fn get(&self) -> Option<Reason> {
            *self.0.lock().expect("one thread")
        }
    }
}
mod refusal {
    pub use ws_api::reason::Reason;
    use ws_policy::request::Malformed;

    pub enum Refusal {
        Malformed,
        NoWebSocket,
        Reflected(#[expect(dead_code)] String),
    }

    impl From<Malformed> for Refusal {
        fn from(_: Malformed) -> Self {
            Self::Malformed
        }
    }
}
mod session {
    use std::sync::{Mutex, MutexGuard};

    pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("one thread")
    }
}

const MAX: u64 = 1 << 10;
/// Room for messages both ways: a message may have a third of it.
const BODIES: usize = 1 << 20;
/// For which the gateway ends a conversation, as a workspace is told (RFC 6455 §7.4.1).
const REASONS: [u16; 6] = [1000, 1001, 1002, 1008, 1009, 1013];
const CREDENTIAL: &str = "sk-5f1c7a52";
/// Where a host's answer says that it has understood the handshake.
const ACCEPT: &str = "{accept}";
const ROOM: usize = 64 << 10;
/// Longer than all else that waits.
const PATIENCE: Duration = Duration::from_secs(120);

static ALLOWED: LazyLock<Allowed> = LazyLock::new(|| {
    let egress = json!({"rules": [{"name": "talk", "hosts": ["a.example"],
        "allow": [{"methods": ["GET"], "paths": ["/talk"], "webSocket": {"maxMessage": "1Ki"}}]}]});
    let egress = serde_json::from_value(egress).expect("rules");
    let class = ClassPolicy::compile("default".parse().expect("a name"), &egress).expect("rules");
    let url = Uri::from_static("https://a.example/talk");
    let request = Asked::absolute(Method::GET, &url, Length::None).expect("a request");
    let request = Asked { opens_web_socket: true, ..request };
    match decide(&Policy::of(Arc::new(class), None), &request) {
        Ok(Decision::Allowed(allowed)) => allowed,
        other => panic!("{other:?}"),
    }
});

/// What each side got to read.
struct Got {
    inside: Vec<u8>,
    outside: Vec<u8>,
}

fuzz_target!(|bytes: &[u8]| {
    let [asked, answered, inside, outside] = parts(bytes);
    if bytes.len() > ROOM / 4 {
        return;
    }
    let record = Record::default();
    // Time passes only when nothing else is to be done.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let got = runtime.block_on(talked([asked, inside], [answered, outside], &record));
    let (Some(to_inside), Some(to_outside)) = (after_head(&got.inside), after_head(&got.outside)) else {
        return;
    };
    let is_open = got.inside.starts_with(b"HTTP/1.1 101 ");
    assert!(is_open || (to_outside.is_empty() && Frames::read(to_inside).messages.is_empty()));
    if is_open {
        let head = String::from_utf8_lossy(&got.inside).to_ascii_lowercase();
        assert!(!head.contains(SEC_WEBSOCKET_EXTENSIONS.as_str()), "no extension is agreed on");
        let (said, answered) = (Frames::read(inside), Frames::read(outside));
        passed(&said, &Frames::read(to_outside), &answered, &[], &record);
        passed(&answered, &Frames::read(to_inside), &said, &REASONS, &record);
        let (sent, arrived) = (record.tally().sent.get(), Frames::read(to_outside));
        assert!(
            arrived.messages.iter().map(|(_, said)| 14 + said.len() as u64).sum::<u64>() <= sent,
            "each is counted"
        );
        let received: usize = Frames::read(to_inside).messages.iter().map(|(_, said)| said.len()).sum();
        assert!(received as u64 <= record.tally().received.get());
        let has_credential =
            |text: &[u8]| text.windows(CREDENTIAL.len()).any(|window| window == CREDENTIAL.as_bytes());
        assert!(!has_credential(&got.inside) || has_credential(inside), "it came back");
    }
});

/// What one side said comes to the other as it was said, and nothing else does but the `reasons` for which the gateway ends it.
fn passed(said: &Frames, arrived: &Frames, other: &Frames, reasons: &[u16], record: &Record) {
    assert!(said.messages.starts_with(&arrived.messages), "each is whole, and as it was said");
    assert!(arrived.messages.iter().all(|(_, message)| message.len() as u64 <= MAX));
    if record.tally().failure.get() == Some(Reason::Revoked) {
        assert_eq!(arrived.messages, said.messages, "nothing was kept back");
    }
    for control in &arrived.controls {
        let is_answer = control.is_empty() || other.controls.contains(control);
        let is_reason = reasons.iter().any(|reason| reason.to_be_bytes() == control[..]);
        assert!(is_answer || is_reason, "{control:?}");
    }
}

fn after_head(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    bytes.get(end + 4..)
}

async fn talked(inside: [&[u8]; 2], outside: [&[u8]; 2], record: &Record) -> Got {
    let ((workspace, server), (client, host)) = (tokio::io::duplex(ROOM), tokio::io::duplex(ROOM));
    let (inside, outside, ()) = tokio::join!(
        workspace_side(workspace, inside),
        host_side(host, outside),
        serve(server, client, record)
    );
    Got { inside, outside }
}

/// Says this and goes on listening.
async fn workspace_side(mut stream: DuplexStream, [headers, frames]: [&[u8]; 2]) -> Vec<u8> {
    let head = b"GET /talk HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    stream.write_all(&[head, headers, b"\r\n\r\n", frames].concat()).await.ok();
    let mut got = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut got)).await.ok();
    got
}

/// Answers the gateway's handshake and goes on listening.
async fn host_side(mut stream: DuplexStream, [headers, frames]: [&[u8]; 2]) -> Vec<u8> {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        let Ok(Ok(byte)) = timeout(PATIENCE, stream.read_u8()).await else { return got };
        got.push(byte);
    }
    let head = String::from_utf8_lossy(&got).into_owned();
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or_default();
    let headers = String::from_utf8_lossy(headers).replace(ACCEPT, &derive_accept_key(key.as_bytes()));
    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    stream.write_all(&[head, headers.as_bytes(), b"\r\n\r\n", frames].concat()).await.ok();
    timeout(PATIENCE, stream.read_to_end(&mut got)).await.ok();
    got
}

/// As the gateway serves a tunnel.
async fn serve(inside: DuplexStream, outside: DuplexStream, record: &Record) {
    let (opened, outside) = (Mutex::new(None), Mutex::new(Some(outside)));
    let service = service_fn(|request| {
        let (opened, outside) = (&opened, outside.lock().expect("one thread").take());
        let record = record.clone();
        async move {
            let mut response = match outside {
                Some(outside) => answer(request, outside, record).await,
                None => Response::default(),
            };
            if let Some(conversation) = response.extensions_mut().remove::<Conversation>() {
                *opened.lock().expect("one thread") = Some(conversation);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let http = http1::Builder::new().serve_connection(TokioIo::new(inside), service).with_upgrades();
    tokio::select! {
        _ = http => {}
        // Whoever waits for more of a head waits in vain.
        () = sleep(Duration::from_secs(60)) => {}
    }
    let conversation = opened.into_inner().expect("one thread");
    if let Some(conversation) = conversation {
        conversation.carry().await;
    }
}

async fn answer(request: Request<Incoming>, outside: DuplexStream, record: Record) -> Response<Body> {
    let (head, _) = request.into_parts();
    let mut headers = HeaderMap::new();
    let (room, own) = (Room::of(BODIES), OwnRoom::of(BODIES));
    let Ok(opening) = Opening::of(&head, Limits { max: MAX, room, own }, &mut headers) else {
        return record.fail(&refusal::Refusal::Malformed);
    };
    let key = head.headers.get(SEC_WEBSOCKET_KEY).expect("it has a key");
    assert_ne!(headers.get(SEC_WEBSOCKET_KEY), Some(key), "the gateway has a handshake of its own");
    let mut sent = Request::new(Body::default());
    *sent.headers_mut() = headers;
    let Ok((mut sender, connection)) = client::conn::http1::handshake(TokioIo::new(outside)).await else {
        return record.fail(&refusal::Refusal::NoWebSocket);
    };
    tokio::spawn(connection.with_upgrades());
    let Ok(answer) = sender.send_request(sent).await else {
        return record.fail(&refusal::Refusal::NoWebSocket);
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return record.fail(&refusal::Refusal::NoWebSocket);
    }
    let search = Some(Search::new(Arc::new(Spellings::of(CREDENTIAL))));
    let lost = sleep(Duration::from_secs(1)).boxed();
    let response = opening.answer(answer, Talk { allowed: ALLOWED.clone(), search, lost, record });
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let accept = derive_accept_key(key.as_bytes());
        assert_eq!(
            response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|accept| accept.as_bytes()),
            Some(accept.as_bytes())
        );
    }
    response
}
