//! The proxy port on loopback, asked by curl and by hand.

use std::net::SocketAddr;

use http::{Request as HttpRequest, Response as HttpResponse};
use kube::{Client, client::Body as KubeBody};
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpSocket, TcpStream},
    process::Command,
    task::JoinHandle,
    time::Instant,
};
use tower_test::mock;
use ws_api::gateway::TOKEN_MARK;

use super::*;
use crate::{
    authority::Pair,
    sources::MAX_CONNECTIONS,
    testing::{Shared, host_key, identity, observed, policies, policies_with, upstream},
};

mod credentials;
mod crowd;
mod differential;
mod early;
mod gates;
mod identity;
mod own;
mod passing;
mod races;
mod statement;
mod tls_names;
mod uninspected;
mod web_sockets;

const KNOWN: &str = "127.0.0.1";
const UNKNOWN: &str = "127.0.0.2";
/// For what comes at once, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// The one Secret that the API server has.
const SECRET_PATH: &str = "/api/v1/namespaces/ws-system/secrets/token";
const CREDENTIAL: &str = "sk-lab-aaaaaaaa";

struct Gateway {
    /// The port itself.
    port: SocketAddr,
    /// The agent's, which leads there.
    address: SocketAddr,
    index: watch::Sender<Sessions>,
    judge: watch::Sender<Policies>,
    proxy: Proxy,
    log: Shared,
    /// The Workspace's status as the API server has it.
    status: Arc<std::sync::Mutex<Value>>,
    api_server: JoinHandle<()>,
}

/// A gateway that knows the workspace at [`KNOWN`].
async fn gateway() -> Gateway {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap();
    let address = agent(port).await;
    let mut known = Sessions::default();
    known.insert(observed(KNOWN));
    let (index, sessions) = watch::channel(known);
    let (client, status, api_server) = api_server();
    let (metrics, log) = (Metrics::default(), Shared::default());
    let reports = Reports::new(client.clone(), sessions.clone(), metrics.clone());
    let audit = Audit::start(log.clone(), metrics.clone()).unwrap();
    let (judge, policies) = watch::channel(policies());
    let proxy = Proxy {
        sessions,
        policies,
        upstream: upstream(),
        credentials: Credentials::new(client, "ws-system"),
        authority: Arc::new(Authority::open(Pair::generate().unwrap()).unwrap()),
        room: Room::of(BODIES),
        reports,
        audit,
        metrics,
    };
    tokio::spawn(proxy.clone().serve(listener, CancellationToken::new()));
    Gateway { port, address, index, judge, proxy, log, status, api_server }
}

/// An agent that relays connections to the gateway, from the addresses that they come from.
async fn agent(gateway: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = Token::sign(&host_key(), &identity().pod_uid).unwrap();
    let greeting = [&[TOKEN_MARK][..], token.as_bytes()].concat();
    tokio::spawn(async move {
        while let Ok((mut inside, peer)) = listener.accept().await {
            let greeting = greeting.clone();
            tokio::spawn(async move {
                let outside = TcpSocket::new_v4().unwrap();
                outside.bind((peer.ip(), 0).into()).unwrap();
                let mut outside = outside.connect(gateway).await.unwrap();
                outside.write_all(&greeting).await.unwrap();
                // Either may break off: that is what some tests are about.
                copy_bidirectional(&mut inside, &mut outside).await.ok();
            });
        }
    });
    address
}

/// An API server with one Workspace, whose status is whatever was applied last.
fn api_server() -> (Client, Arc<std::sync::Mutex<Value>>, JoinHandle<()>) {
    use http_body_util::BodyExt as _;

    let (service, mut handle) = mock::pair::<HttpRequest<KubeBody>, HttpResponse<KubeBody>>();
    let status = Arc::new(std::sync::Mutex::new(json!({})));
    let stored = status.clone();
    let server = tokio::spawn(async move {
        while let Some((request, answer)) = handle.next_request().await {
            if request.uri().path() == SECRET_PATH {
                let data = json!({"key": "c2stbGFiLWFhYWFhYWFh"});
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "data": data});
                answer.send_response(HttpResponse::new(serde_json::to_vec(&secret).unwrap().into()));
                continue;
            }
            if request.method() == "PATCH" {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                *stored.lock().unwrap() = serde_json::from_slice::<Value>(&body).unwrap()["status"].take();
            }
            let workspace = json!({
                "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "spec": {"sshPublicKeys": []},
                "metadata": {"name": "fix-tests", "namespace": "team-a", "uid": "ws-uid", "resourceVersion": "1"},
                "status": *stored.lock().unwrap(),
            });
            answer.send_response(HttpResponse::new(serde_json::to_vec(&workspace).unwrap().into()));
        }
    });
    (Client::new(service, "default"), status, server)
}

impl Gateway {
    /// Runs curl with the gateway as its proxy; what it printed, and its exit code.
    async fn curl(&self, args: &[&str]) -> (String, i32) {
        let curl = Command::new("curl")
            .env_clear()
            .args(["-q", "-sS", "--max-time", "15", "-x", &format!("http://{}", self.address)])
            .args(args)
            .output()
            .await
            .unwrap();
        let printed = [curl.stdout, curl.stderr].concat();
        (String::from_utf8(printed).unwrap(), curl.status.code().unwrap())
    }

    fn lose_the_api_server(&mut self) {
        self.api_server.abort();
    }

    /// Sends bytes and returns all that comes back until the gateway closes.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read(&mut stream).await
    }

    /// A tunnel to `host`.
    async fn tunnel(&self, host: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream
            .write_all(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
        stream
    }

    /// Ends the records, so that all are to be seen.
    async fn settle(&self) {
        while self.proxy.metrics.connections.get() > 0 {
            tokio::task::yield_now().await;
        }
        self.proxy.reports.close(Duration::from_secs(5)).await;
        self.proxy.audit.close().await;
    }

    fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.proxy.metrics.register(&mut registry);
        let mut exposed = String::new();
        encode(&mut exposed, &registry).unwrap();
        exposed
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes").unwrap();
    String::from_utf8(answer).unwrap()
}

fn status_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

const DENIED: &str = "ws: telemetry.example denied: no egress rule of class \"default\" names it\n";

#[tokio::test]
async fn curl_shows_why_it_was_refused() {
    let gateway = gateway().await;
    let (printed, code) = gateway.curl(&["http://Telemetry.example./collect?x=secret", "-d", "secret"]).await;
    assert_eq!((printed.as_str(), code), (DENIED, 0));
    let (printed, code) = gateway.curl(&["-i", "http://telemetry.example/", "-X", "PURGE"]).await;
    assert!(printed.starts_with("HTTP/1.1 403 Forbidden\r\n") && printed.ends_with(DENIED), "{printed}");
    assert!(printed.contains("\r\nx-ws-denied: host-not-allowed\r\n"), "{printed}");
    assert!(printed.contains("\r\nconnection: close\r\n"), "{printed}");
    assert_eq!(code, 0);
    let (printed, code) = gateway.curl(&["-v", "https://telemetry.example/collect", "-d", "secret"]).await;
    assert!(printed.contains("CONNECT tunnel failed, response 403"), "{printed}");
    assert!(printed.contains("x-ws-denied: host-not-allowed"), "{printed}");
    assert_eq!(code, 56);
    let (printed, _) = gateway.curl(&["http://[::1]/"]).await;
    assert_eq!(printed, "ws: [::1] denied: it is an IP address, and egress rules name hosts\n");
}

#[tokio::test]
async fn a_refusal_is_recorded_everywhere_and_holds_no_content() {
    let gateway = gateway().await;
    for url in ["https://telemetry.example/secret?secret", "http://user:secret@10.96.0.1:8080/secret"] {
        gateway.curl(&[url, "-d", "secret", "-H", "X: secret", "--proxy-user", "secret:secret"]).await;
    }
    gateway.send(b"GET secret\r\n\r\n").await;
    gateway.settle().await;
    let log = gateway.log.lines();
    let told: Vec<_> = log
        .iter()
        .map(|line| {
            ["seq", "workspace", "decision", "reason", "method", "host", "port", "source"]
                .map(|key| line[key].clone())
        })
        .collect();
    assert_eq!(
        json!(told),
        json!([
            [1, "fix-tests", "denied", "host-not-allowed", "CONNECT", "telemetry.example", 443, KNOWN],
            [2, "fix-tests", "denied", "ip-literal", "POST", "10.96.0.1", 8080, KNOWN],
            [3, "fix-tests", "denied", "malformed", "", "", null, KNOWN],
        ])
    );
    assert!(!json!(log).to_string().contains("secret"));
    let egress = gateway.status.lock().unwrap()["egress"].clone();
    assert_eq!((&egress["denied"], &egress["allowed"]), (&json!(3), &json!(0)));
    let hosts: Vec<_> =
        egress["lastDenied"].as_array().unwrap().iter().map(|denied| &denied["host"]).collect();
    assert_eq!(hosts, ["10.96.0.1", "telemetry.example"]);
    for reason in ["host-not-allowed", "ip-literal", "malformed"] {
        let line = format!("decisions_total{{decision=\"denied\",reason=\"{reason}\"}} 1");
        assert!(gateway.metrics().contains(&line), "{line}");
    }
}

#[tokio::test]
async fn b10_garbage_is_answered_with_an_error_and_closed() {
    let gateway = gateway().await;
    let long = format!("GET http://a.example/{} HTTP/1.1\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", "A: b\r\n".repeat(200));
    for (request, status) in [
        ("\0\0\0\0\r\n\r\n", "400"),
        ("\u{16}\u{3}\u{1}\u{2}\r\n\r\n", "400"),
        ("GET http://a.example/\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", "400"),
        ("CONNECT a.example\0.evil.example:443 HTTP/1.1\r\n\r\n", "400"),
        ("CONNECT a.example%00.evil.example:443 HTTP/1.1\r\n\r\n", "400"),
        ("CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "400"),
        ("CONNECT a.example:443:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", "400"),
        ("CONNECT user@a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "400"),
        ("CONNECT a\\b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", "400"),
        ("get http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", "403"),
        ("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n", "403"),
        ("CONNECT 0x7f.1:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "403"),
        (&long, "431"),
        (&many, "431"),
    ] {
        let answer = gateway.send(request.as_bytes()).await;
        let line = status_line(&answer);
        assert_eq!(line.split(' ').nth(1), Some(status), "{:.60} → {line}", request.escape_debug());
    }
}

#[tokio::test]
async fn http_2_is_closed_and_recorded() {
    let gateway = gateway().await;
    assert_eq!(gateway.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
    gateway.settle().await;
    assert_eq!(gateway.log.lines()[0]["reason"], "malformed");
}

#[tokio::test]
async fn b12_nothing_after_a_refusal_is_served() {
    let gateway = gateway().await;
    let request = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let answer = gateway.send(request.repeat(3).as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1);
    gateway.settle().await;
    assert_eq!(gateway.log.lines().len(), 1);
}

#[tokio::test]
async fn a_client_that_still_sends_gets_its_answer() {
    let gateway = gateway().await;
    let body = "x".repeat(900_000);
    for _ in 0..10 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST http://telemetry.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        assert!(read(&mut stream).await.ends_with(DENIED));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_cut_off() {
    let gateway = gateway().await;
    let start = Instant::now();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET http://a.example/ HTTP/1.1\r\nX:").await.unwrap();
    assert_eq!(read(&mut stream).await, "");
    assert!((10..13).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_begin_in_a_tunnel_is_cut_off() {
    let gateway = gateway().await;
    let rule =
        json!({"name": "docs", "hosts": ["docs.example"], "allow": [{"methods": ["GET"], "paths": ["/"]}]});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let (nothing, of_tls, of_http) = (&b""[..], b"\x16\x03\x01", b"GET / HTTP/1.1\r\nX:");
    for begun in [nothing, of_tls, of_http] {
        let start = Instant::now();
        let mut stream = gateway.tunnel("docs.example:443").await;
        stream.write_all(begun).await.unwrap();
        assert_eq!(read(&mut stream).await, "");
        assert!((10..13).contains(&start.elapsed().as_secs()), "{begun:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn b25_one_address_cannot_have_all_connections() {
    let gateway = gateway().await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        held.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    while gateway.proxy.metrics.connections.get() < i64::try_from(MAX_CONNECTIONS).unwrap() {
        tokio::task::yield_now().await;
    }
    let mut crowded = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(crowded.read(&mut [0]).await.unwrap(), 0);
    let (printed, _) = gateway.curl(&["--interface", UNKNOWN, "http://telemetry.example/"]).await;
    assert!(printed.starts_with("ws: unknown workspace"), "{printed}");
    drop(held);
    while gateway.proxy.metrics.connections.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.curl(&["http://telemetry.example/"]).await.0, DENIED);
}

#[test]
fn the_chart_gives_the_memory_that_the_limits_are_made_for() {
    let (_, gateway) = include_str!("../../../../charts/ws/values.yaml").split_once("\ngateway:").unwrap();
    let limit = gateway.lines().find_map(|line| line.trim().strip_prefix("limits: {memory: ")).unwrap();
    assert_eq!(limit, format!("{}Mi}}", MEMORY >> 20));
}
