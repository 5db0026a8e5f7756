//! What a host understands of a request is what was decided on: servers that many hosts are, behind a wire that keeps what passes.

use std::collections::HashMap;

use futures::{StreamExt as _, stream};
use ws_policy::{
    class::ClassPolicy,
    decide::decide,
    request::{Length, Request},
};
use ws_tests::corpus;

use super::*;

mod server;
mod wire;

use server::Server;
use wire::{Wire, Written};

/// The one host that is allowed, a service of the cluster here.
const ALLOWED: &str = "docs.example.svc";
const DENIED: &str = "hidden.example.svc";
/// Requests at a time.
const AT_ONCE: usize = 16;
/// Once an answer has come, what follows comes at once.
const REST: Duration = Duration::from_secs(1);
const HEADERS: [&str; 3] = ["accept", "content-type", "user-agent"];

fn rules(port: u16) -> Value {
    json!([{"name": "docs", "service": {"namespace": "example", "name": "docs", "port": port}, "allow": [
        {"methods": ["GET"], "paths": ["/public/**"], "query": ["beta", "v=1"], "headers": [{"name": "accept"}]},
        {"methods": ["POST"], "paths": ["/public/form"], "body": {"max": "64Ki"}},
    ]}])
}

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n")
}

/// The host in spellings that no other has, and in all those that another may have.
fn of_hosts(port: u16) -> impl Iterator<Item = String> {
    let own =
        ["docs.example.svc", "DOCS.Example.SVC", "docs.example.svc.", "Docs.example.svc."].map(str::to_owned);
    let ways = move |(index, host): (usize, String)| {
        let with_port = host.rsplit(':').next().is_some_and(|port| port.parse::<u32>().is_ok());
        let host = if with_port { host } else { format!("{host}:{port}") };
        let path = format!("/public/host/{index}");
        let own = format!("{ALLOWED}:{port}");
        [
            get(&format!("http://{host}{path}"), &own),
            get(&format!("http://{own}{path}"), &host),
            get(&path, &host),
            format!("CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n\r\n{}", get(&path, &host)),
            format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n{}", get(&path, &own)),
        ]
    };
    own.into_iter().chain(corpus::hosts(ALLOWED, DENIED)).enumerate().flat_map(ways)
}

/// Paths that lead elsewhere, and each character as it is and encoded: alone, doubled, and where a segment begins and ends.
fn of_paths(port: u16) -> impl Iterator<Item = String> {
    let characters = (0..=0x7f_u8).flat_map(|byte| [format!("%{byte:02x}"), char::from(byte).to_string()]);
    let others =
        ["%C3%A9", "%e2%80%ae", "%F0%9F%A6%80", "%c0%ae", "%ff", "é", "...", "..", ".", ".%20.", "%2e%2e%2f"];
    let parts = characters.chain(others.map(str::to_owned));
    let around = parts.flat_map(|part| {
        [format!("/public/a{part}b/"), format!("/public/{part}/"), format!("/public/{part}{part}b/x{part}/")]
    });
    let paths = corpus::paths().chain(around).enumerate();
    paths.map(move |(index, path)| get(&format!("{path}{index}"), &format!("{ALLOWED}:{port}")))
}

fn of_queries(port: u16) -> impl Iterator<Item = String> {
    const BETWEEN: [&str; 22] = [
        "&", ";", "%26", "%3b", "&&", "&=&", "+", "%20", "%00", "%0a", "#", "?", "/", "%3d", "=", ",", "|",
        "\\", "%5b%5d=", "[]=", "%", "%u0026",
    ];
    let queries = BETWEEN.iter().flat_map(|text| {
        [
            format!("beta=1{text}admin=1"),
            format!("beta{text}admin=1"),
            format!("v=1{text}v=2"),
            format!("{text}v=1&beta=%7e{text}"),
        ]
    });
    queries.map(move |query| get(&format!("/public/query?{query}"), &format!("{ALLOWED}:{port}")))
}

fn of_smuggled(port: u16) -> impl Iterator<Item = String> {
    let host = format!("{ALLOWED}:{port}");
    let smuggled = corpus::smuggled(&host, "/secret/");
    let on_tunnels = smuggled
        .clone()
        .into_iter()
        .map(move |(_, _, bytes)| format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n{bytes}"));
    smuggled.into_iter().map(|(_, _, bytes)| bytes).chain(on_tunnels)
}

/// Sends all of it through a gateway to the server, and tells where one understood what the other did not.
async fn agree(server: Server, is_chunk_reader: bool) {
    let gateway = gateway().await;
    let wire = Wire::to(server.port).await;
    let port = wire.port;
    gateway.judge.send_replace(policies_with(&rules(port)));
    let hosts: Vec<_> = of_hosts(port).collect();
    let paths: Vec<_> = of_paths(port).collect();
    assert!(hosts.len() >= 5 * 200 && paths.len() >= 150, "{} {}", hosts.len(), paths.len());
    let all: Vec<_> =
        hosts.into_iter().chain(paths).chain(of_queries(port)).chain(of_smuggled(port)).collect();
    let answers: Vec<_> =
        stream::iter(&all).map(|bytes| answer(gateway.address, bytes)).buffered(AT_ONCE).collect().await;
    for (bytes, answer) in all.iter().zip(answers) {
        // With the preface of HTTP/2 nobody knows in what to answer.
        let is_clear = answer.starts_with("HTTP/1.1 ") || bytes.contains("PRI * HTTP/2.0");
        assert!(is_clear, "{bytes:?} was answered by {answer:?}");
    }
    wire.end().await;
    let (understood, written) = (server.end().await, wire.requests());
    let disagreements = disagreements(port, &understood, &written, is_chunk_reader);
    assert_eq!(disagreements, Vec::<String>::new());
    let is_accepted = |begin: &str| understood.iter().filter(|said| path(said).starts_with(begin)).count();
    let accepted = ["/public/host/", "/public/a", "/public/query", "/public/form"].map(is_accepted);
    assert!(accepted[0] >= 20 && accepted[1] >= 50 && accepted[2] >= 10 && accepted[3] >= 5, "{accepted:?}");
}

async fn answer(gateway: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    // The gateway may have answered and closed before all is sent.
    stream.write_all(bytes.as_bytes()).await.ok();
    // A tunnel is answered by itself, and then the request on it.
    let expected = if bytes.starts_with("CONNECT ") { 2 } else { 1 };
    let (mut answer, mut patience) = (Vec::new(), PATIENCE);
    while let Ok(Ok(1..)) = timeout(patience, stream.read_buf(&mut answer)).await {
        if String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count() >= expected {
            patience = REST;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn path(understood: &Value) -> &str {
    understood["path"].as_str().unwrap_or_default()
}

/// Each difference between what is on the wire, what was decided on and what the server understood.
fn disagreements(
    port: u16,
    understood: &[Value],
    written: &HashMap<u16, Result<Vec<Written>, String>>,
    is_chunk_reader: bool,
) -> Vec<String> {
    let egress = serde_json::from_value(json!({"rules": rules(port)})).unwrap();
    let class = ClassPolicy::compile("default".parse().unwrap(), &egress).unwrap();
    let policy = Policy::of(Arc::new(class), None);
    let mut told = Vec::new();
    let mut heard: HashMap<u16, Vec<&Value>> = HashMap::new();
    for said in understood {
        heard.entry(u16::try_from(said["connection"].as_u64().unwrap()).unwrap()).or_default().push(said);
    }
    for (connection, requests) in written {
        let said = heard.remove(connection).unwrap_or_default();
        let requests = match requests {
            Ok(requests) => requests,
            Err(error) => {
                told.push(error.clone());
                continue;
            }
        };
        if said.len() != requests.len() {
            told.push(format!("{} requests were understood as {said:?}: {requests:?}", requests.len()));
        }
        for (request, said) in requests.iter().zip(said) {
            let has_body = is_chunk_reader || !request.headers.contains_key("transfer-encoding");
            if let Err(error) = same(port, &policy, request, said, has_body) {
                told.push(format!("{error}: {request:?} was understood as {said}"));
            }
        }
    }
    told.extend(heard.into_values().flatten().map(|said| format!("nobody wrote {said}")));
    told
}

fn same(port: u16, policy: &Policy, written: &Written, said: &Value, has_body: bool) -> Result<(), String> {
    let host = format!("{ALLOWED}:{port}");
    let url = format!("http://{host}{}", written.target);
    let body = match written.body.len() as u64 {
        0 => Length::None,
        bytes => Length::Bytes(bytes),
    };
    let request = Request::absolute(written.method.parse().unwrap(), &url.parse().unwrap(), body);
    let request = request.map_err(|error| error.to_string())?;
    if request.url() != url {
        return Err(format!("it is not canonical, which is {}", request.url()));
    }
    decide(policy, &request).map_err(|denied| denied.to_string())?;
    let is = |what: &str, expected: &str, found: &Value| {
        if found == expected { Ok(()) } else { Err(format!("its {what} is {expected:?}")) }
    };
    is("method", &written.method, &said["method"])?;
    is("host", &host, &said["host"])?;
    is("own host", &host, &json!(written.headers.get("host")))?;
    is("path", &decoded(request.path.as_str()), &said["path"])?;
    if has_body {
        is("body", std::str::from_utf8(&written.body).unwrap(), &said["body"])?;
    }
    for name in HEADERS.iter().filter(|_| said.get("headers").is_some()) {
        let value = written.headers.get(*name);
        if value.map(String::as_str) != said["headers"][*name].as_str() {
            return Err(format!("its {name} is {value:?}"));
        }
    }
    let arguments = request.query.to_string();
    if let Some(found) = said.get("arguments") {
        return is("query", &arguments, found);
    }
    let pairs = said["query"].as_array().unwrap();
    let is_allowed = |pair: &Value| pair[0] == "beta" || (pair[0] == "v" && pair[1] == "1");
    if pairs.len() != request.query.pairs().len() || !pairs.iter().all(is_allowed) {
        return Err(format!("its query is {arguments:?}"));
    }
    Ok(())
}

/// A path without its escapes.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn nginx_understands_what_was_decided_on() {
    agree(Server::nginx().await, true).await;
}

#[tokio::test]
async fn node_understands_what_was_decided_on() {
    agree(Server::node().await, true).await;
}

#[tokio::test]
async fn go_understands_what_was_decided_on() {
    agree(Server::go().await, true).await;
}

#[tokio::test]
async fn python_understands_what_was_decided_on() {
    agree(Server::python().await, false).await;
}

/// What the gateway would not write, straight to the wire: each time, what the server makes of it is told.
#[tokio::test]
async fn a_disagreement_is_told() {
    for server in [Server::nginx().await, Server::node().await, Server::go().await, Server::python().await] {
        let wire = Wire::to(server.port).await;
        let host = format!("{ALLOWED}:{}", wire.port);
        let address = SocketAddr::from(([127, 0, 0, 1], wire.port));
        let evil = [
            get("/public/../secret/", &host),
            get("/public/x?beta=1&admin=1", &host),
            get("/public/x", DENIED),
            format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\nX: y\nAccept: a\r\nConnection: close\r\n\r\n"),
            format!(
                "POST /public/form HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"
            ),
        ];
        for bytes in &evil {
            answer(address, bytes).await;
        }
        let good = answer(address, &get("/public/good", &host)).await;
        assert!(good.starts_with("HTTP/1.1 200 "), "{good}");
        wire.end().await;
        let (understood, written) = (server.end().await, wire.requests());
        let told = disagreements(wire.port, &understood, &written, true);
        assert_eq!((told.len(), written.len()), (evil.len(), evil.len() + 1), "{told:#?}");
    }
}
