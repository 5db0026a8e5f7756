//! What is allowed reaches a server on loopback, which is a service of the cluster here.

use super::*;
use crate::testing::class;

mod broken;

/// What of a connection a server answers, as it is read.
pub type Answers = fn(&[u8]) -> bool;

/// A server that answers each request with `answer` and keeps what it got.
pub struct Server {
    pub port: u16,
    pub got: Shared,
}

pub async fn server(answer: &'static str) -> Server {
    server_that(|_| true, answer).await
}

/// The same, but it `answers` only some of what it reads.
pub async fn server_that(answers: Answers, answer: &'static str) -> Server {
    use std::io::Write as _;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let got = Shared::default();
    let mut sink = got.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut sink = sink.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4_096];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    sink.write_all(&bytes[..length]).unwrap();
                    if answers(&bytes[..length]) {
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
        sink.flush().unwrap();
    });
    Server { port, got }
}

pub fn rule(server: &Server, allow: &Value) -> Value {
    json!({"name": "model", "service": {"namespace": "models", "name": "ollama", "port": server.port}, "allow": [allow]})
}

pub const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\nalt-svc: h3\r\nx-answer: y\r\n\r\nhello";

/// An answer that does not end after its first event.
pub const ENDLESS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";

/// What comes of it, to the end of that event.
pub async fn first_event(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"data: 1\n\n\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "events come when they come");
    }
    answer
}

#[tokio::test]
async fn what_is_allowed_arrives_made_anew_and_its_answer_comes_back() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let allow = json!({"methods": ["POST"], "paths": ["/api/**"], "query": ["v"], "headers": [{"name": "accept"}],
        "body": {"max": "1Ki"}});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let url = format!("http://ollama.models.svc:{}/%61pi/chat?v=1", server.port);
    let sent =
        ["-i", &url, "-d", "question", "-H", "Authorization: mine", "-H", "X-Canary: c", "-H", "Accept: */*"];
    let (printed, code) = gateway.curl(&sent).await;
    assert!(printed.starts_with("HTTP/1.1 200 OK\r\n") && printed.ends_with("\r\n\r\nhello"), "{printed}");
    assert!(printed.contains("x-answer: y") && !printed.contains("alt-svc"), "{printed}");
    assert_eq!(code, 0);
    let got = server.got.text();
    assert!(got.starts_with("POST /api/chat?v=1 HTTP/1.1\r\n") && got.ends_with("\r\n\r\nquestion"), "{got}");
    let mut names: Vec<_> = got.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "content-length", "content-type", "host", "user-agent"], "{got}");
    gateway.settle().await;
    let line = gateway.log.lines().remove(0);
    assert_eq!(
        ["decision", "rule", "host", "method", "status", "reason", "receivedBytes"]
            .map(|key| line[key].clone()),
        [
            "allowed".into(),
            "model".into(),
            "ollama.models.svc".into(),
            "POST".into(),
            json!(200),
            Value::Null,
            json!(5)
        ]
    );
    let egress = gateway.status.lock().unwrap()["egress"].clone();
    assert_eq!((&egress["denied"], &egress["allowed"]), (&json!(0), &json!(1)));
    assert_eq!(egress["uploadedBytes"], line["sentBytes"]);
}

#[tokio::test]
async fn b12_each_request_of_a_connection_is_decided_on() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let allow = json!({"methods": ["GET"], "paths": ["/good"]});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let host = format!("ollama.models.svc:{}", server.port);
    let request = |path| format!("GET http://{host}/{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let answer = gateway.send([request("good"), request("evil"), request("good")].concat().as_bytes()).await;
    let statuses: Vec<_> = answer.lines().filter(|line| line.contains("HTTP/1.1 ")).collect();
    assert_eq!(statuses.len(), 2, "after the denial, nothing is taken: {answer}");
    assert!(answer.contains("rule \"model\" allows no request like GET /evil"), "{answer}");
    assert!(!server.got.text().contains("evil"));
}

#[tokio::test]
async fn b04_in_a_tunnel_requests_are_decided_on_too() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let allow = json!({"methods": ["GET"], "paths": ["/good"]});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let url = |path| format!("http://ollama.models.svc:{}/{path}", server.port);
    let (printed, _) = gateway.curl(&["--proxytunnel", &url("good")]).await;
    assert!(printed.ends_with("hello"), "{printed}");
    let (printed, _) = gateway.curl(&["--proxytunnel", &url("evil")]).await;
    assert!(printed.contains("allows no request like GET /evil"), "{printed}");
    let (printed, _) =
        gateway.curl(&["--proxytunnel", "-i", "-H", "Host: other.example", &url("good")]).await;
    assert!(printed.contains("HTTP/1.1 421 "), "{printed}");
    let (printed, _) = gateway.curl(&["-k", &url("good").replace("http:", "https:")]).await;
    assert!(printed.contains("is for plain http"), "TLS is ended: {printed}");
    assert_eq!(server.got.text().matches("GET ").count(), 1);
}

#[tokio::test]
async fn a13_a_stream_is_cut_when_the_policy_changes() {
    for is_in_tunnel in [false, true] {
        let (gateway, server) = (gateway().await, server(ENDLESS).await);
        let allow = json!({"methods": ["GET"], "paths": ["/"]});
        gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let host = format!("ollama.models.svc:{}", server.port);
        let head = if is_in_tunnel {
            format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\nGET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
        } else {
            format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
        };
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = first_event(&mut stream).await;
        gateway
            .judge
            .send_if_modified(|policies| policies.insert_class(class(&json!([rule(&server, &allow)]))));
        gateway.judge.send_if_modified(|policies| policies.insert_class(class(&json!([]))));
        let cut = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(cut.is_ok(), "it is cut");
        assert!(!answer.ends_with(b"0\r\n\r\n"), "and does not look whole");
        gateway.settle().await;
        assert_eq!(gateway.log.lines().pop().unwrap()["reason"], "revoked", "in a tunnel: {is_in_tunnel}");
    }
}

#[tokio::test]
async fn b14_a_name_that_leads_inside_is_no_way_out() {
    let gateway = gateway().await;
    let rules = json!([{"name": "rebound", "hosts": ["rebound.example"], "scheme": "http",
        "allow": [{"methods": ["GET"], "paths": ["/"]}]}]);
    gateway.judge.send_replace(policies_with(&rules));
    let (printed, _) = gateway.curl(&["http://rebound.example/"]).await;
    assert!(printed.starts_with("ws: rebound.example denied: it has no address outside"), "{printed}");
    gateway.settle().await;
    let lines = gateway.log.lines();
    assert_eq!((lines.len(), &lines[0]["reason"]), (1, &json!("special-address")));
}

#[tokio::test]
async fn b17_b22_a_body_that_a_rule_looks_into_is_decided_on_whole() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let allow = json!({"methods": ["POST"], "paths": ["/"],
        "body": {"max": "1Ki", "json": {"required": ["model"], "forbidden": ["mcp_servers"]}}});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let url = format!("http://ollama.models.svc:{}/", server.port);
    let ask = async |more: &[&str], body: &str| {
        gateway.curl(&[&["-i", &url, "--data-binary", body], more].concat()).await.0
    };
    assert!(ask(&[], "{\"model\": \"m\"}").await.ends_with("hello"));
    for (more, body, status) in [
        (&[][..], "{\"model\": \"m\", \"mcp_servers\": []}", "403"),
        (&[], "{\"model\": \"m\", \"model\": 1}", "403"),
        (&[], "no json", "403"),
        (&["-H", "Content-Encoding: gzip"], "{\"model\": \"m\"}", "415"),
        (&["-H", "Transfer-Encoding: chunked"], &"x".repeat(2_000), "413"),
        (&[], &"x".repeat(2_000), "413"),
    ] {
        let printed = ask(more, body).await;
        assert!(printed.starts_with(&format!("HTTP/1.1 {status} ")), "{more:?} {body:.40}: {printed}");
    }
    assert_eq!(server.got.text().matches("POST ").count(), 1);
}

#[tokio::test]
async fn bodies_that_do_not_say_how_long_they_are_come_at_once_and_whole() {
    const LONG: usize = 3 << 20;
    let gateway = gateway().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { port: listener.local_addr().unwrap().port(), got: Shared::default() };
    let reading = tokio::spawn(async move {
        let (mut stream, mut got) = (listener.accept().await.unwrap().0, Vec::new());
        while got.len() < LONG {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0, "it comes whole");
        }
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        stream
    });
    let allow = json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "32Mi", "json": {"required": ["model"]}}});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let host = format!("ollama.models.svc:{}", server.port);
    let head = format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    // They hold what room they have.
    let mut begun = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(format!("{head}1\r\n{{\r\n").as_bytes()).await.unwrap();
        begun.push(stream);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body.json");
    std::fs::write(&file, format!("{{\"model\": \"{}\"}}", "m".repeat(LONG))).unwrap();
    let url = format!("http://{host}/");
    let long = ["-H", "Transfer-Encoding: chunked", "--data-binary", &format!("@{}", file.display()), &url];
    let (printed, _) = gateway.curl(&long).await;
    assert_eq!(printed, "hello");
    reading.await.unwrap();
    drop(begun);
}

#[tokio::test]
async fn a_body_that_cannot_be_looked_into_goes_where_nobody_looks() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let mut rule = rule(
        &server,
        &json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "1Ki", "json": {"required": ["model"]}}}),
    );
    let lax = json!({"methods": ["POST"], "paths": ["/"], "headers": [{"name": "content-encoding"}], "body": {"max": "1Ki"}});
    rule["allow"].as_array_mut().unwrap().push(lax);
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let url = format!("http://ollama.models.svc:{}/", server.port);
    let (printed, _) = gateway.curl(&[&url, "-H", "Content-Encoding: gzip", "-d", "packed"]).await;
    assert_eq!(printed, "hello");
    let got = server.got.text();
    assert!(got.contains("content-encoding: gzip\r\n") && got.ends_with("packed"), "{got}");
}

#[tokio::test]
async fn b20_a_body_is_cut_before_it_is_longer_than_allowed() {
    let (gateway, server) = (gateway().await, server("").await);
    let allow = json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "1Ki"}});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let host = format!("ollama.models.svc:{}", server.port);
    let head = format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(format!("{head}{}0\r\n\r\n", chunk.repeat(3)).as_bytes()).await.unwrap();
    let answer = read(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let got = server.got.text();
    assert!(got.matches('x').count() <= 1_024 + 8 && !got.contains("\r\n0\r\n"), "{got}");
}

#[tokio::test]
async fn after_a_body_in_chunks_nothing_follows_on_its_connection() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let allow = json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "1Ki"}});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let url = format!("http://ollama.models.svc:{}/", server.port);
    for (more, ends) in [(&["-H", "Transfer-Encoding: chunked"][..], 1), (&[], 1)] {
        let (printed, _) = gateway.curl(&[&[&url, "-d", "x"], more].concat()).await;
        assert_eq!(printed, "hello");
        assert_eq!(server.got.text().matches("connection: close\r\n").count(), ends);
    }
}

#[tokio::test]
async fn b20_many_requests_send_no_more_than_the_budget() {
    const BUDGET: u64 = 2_000;
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let mut rule = rule(&server, &json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "1Ki"}}));
    rule["budget"] = json!({"upload": BUDGET.to_string()});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let url = format!("http://ollama.models.svc:{}/", server.port);
    let body = "x".repeat(100);
    let mut refused = 0;
    for _ in 0..40 {
        let (printed, _) = gateway.curl(&["-i", &url, "-d", &body]).await;
        refused += usize::from(printed.starts_with("HTTP/1.1 413 "));
        assert!(
            printed.ends_with("hello") || printed.contains("may send by rule \"model\" are spent"),
            "{printed}"
        );
    }
    assert!((20..40).contains(&refused), "{refused} of 40");
    gateway.settle().await;
    let egress = gateway.status.lock().unwrap()["egress"].clone();
    let rule = &egress["rules"][0];
    assert!(rule["sentBytes"].as_u64().unwrap() <= BUDGET, "{egress}");
    assert_eq!(
        (&rule["name"], rule["reservedBytes"].as_u64().unwrap() <= BUDGET),
        (&json!("model"), true),
        "{egress}"
    );
    let arrived = server.got.text().matches('x').count();
    assert!((700..2_000).contains(&arrived), "{arrived}");
}

#[tokio::test]
async fn b20_a_body_without_a_length_is_cut_at_the_budget_before_its_end() {
    let (gateway, server) = (gateway().await, server("").await);
    let mut rule = rule(&server, &json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "1Mi"}}));
    rule["budget"] = json!({"upload": "1000"});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let host = format!("ollama.models.svc:{}", server.port);
    let head = format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(format!("{head}{}0\r\n\r\n", chunk.repeat(20)).as_bytes()).await.unwrap();
    let answer = read(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("over-budget"), "{answer}");
    let got = server.got.text();
    assert!(got.matches('x').count() <= 1_000 && !got.contains("\r\n0\r\n"), "{got}");
}

#[tokio::test]
async fn b20_what_one_request_may_send_is_bounded_too() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let mut rule = rule(&server, &json!({"methods": ["GET"], "paths": ["/**"]}));
    rule["budget"] = json!({"request": "200"});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let url = |path: &str| format!("http://ollama.models.svc:{}/{path}", server.port);
    let (printed, _) = gateway.curl(&[&url("short")]).await;
    assert_eq!(printed, "hello");
    let (printed, _) = gateway.curl(&[&url(&"long".repeat(50))]).await;
    assert_eq!(printed, "ws: denied: rule \"model\" allows 200 bytes in a request\n");
    assert!(!server.got.text().contains("longlong"));
}

#[tokio::test]
async fn without_an_answer_about_the_budget_nothing_is_sent() {
    let (mut gateway, server) = (gateway().await, server(HELLO).await);
    let mut rule = rule(&server, &json!({"methods": ["GET"], "paths": ["/"]}));
    rule["budget"] = json!({"upload": "1Mi"});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    gateway.lose_the_api_server();
    let (printed, _) = gateway.curl(&["-i", &format!("http://ollama.models.svc:{}/", server.port)]).await;
    assert!(printed.starts_with("HTTP/1.1 503 "), "{printed}");
    assert_eq!(server.got.text(), "");
}

#[tokio::test]
async fn a_host_cannot_change_the_protocol() {
    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nanything";
    let (gateway, server) = (gateway().await, server(SWITCH).await);
    gateway
        .judge
        .send_replace(policies_with(&json!([rule(&server, &json!({"methods": ["GET"], "paths": ["/"]}))])));
    let url = format!("http://ollama.models.svc:{}/", server.port);
    let upgrade = ["-i", "-H", "Connection: Upgrade", "-H", "Upgrade: x", &url];
    for arguments in [&upgrade[..], &upgrade[5..]] {
        let (printed, _) = gateway.curl(&[&["-i"], arguments].concat()).await;
        assert!(printed.starts_with("HTTP/1.1 502 ") && !printed.contains("anything"), "{printed}");
    }
    assert!(!server.got.text().to_lowercase().contains("upgrade"), "it was not even asked");
}

#[tokio::test]
async fn without_its_credential_a_request_is_not_sent() {
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let mut rule = rule(&server, &json!({"methods": ["GET"], "paths": ["/"]}));
    rule["credential"] = json!({"secretName": "s", "key": "k"});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let url = format!("http://ollama.models.svc:{}/", server.port);
    // The API server of these tests has no Secret: nothing is sent without the credential.
    let (printed, _) = gateway.curl(&["-i", &url]).await;
    assert!(printed.starts_with("HTTP/1.1 502 ") && printed.contains("no-credential"), "{printed}");
    assert_eq!(server.got.text(), "");
}
