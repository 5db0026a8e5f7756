//! What broke off does not look whole in the records.

use super::*;

/// The decision and the reason that are recorded of a request, whose client breaks off after these bytes of so many.
async fn recorded(port: u16, request: &str, length: usize, body: &str) -> Value {
    let gateway = gateway().await;
    let server = Server { port, got: Shared::default() };
    let lax = json!({"methods": ["GET", "POST"], "paths": ["/"], "body": {"max": "1Ki"}});
    let strict = json!({"methods": ["POST"], "paths": ["/looked-into"], "body": {"max": "1Ki", "json": {}}});
    let mut rule = rule(&server, &lax);
    rule["allow"].as_array_mut().unwrap().push(strict);
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let host = format!("ollama.models.svc:{port}");
    let request = request.replacen(" /", &format!(" http://{host}/"), 1);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).await.unwrap();
    if body.len() < length {
        stream.shutdown().await.unwrap();
    }
    timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("it ends").ok();
    gateway.settle().await;
    let line = gateway.log.lines().pop().unwrap();
    json!([line["decision"], line["reason"]])
}

#[tokio::test]
async fn a_body_that_broke_off_is_recorded_as_that() {
    let silent = server("").await;
    for (request, decision) in [("POST /", "allowed"), ("POST /looked-into", "denied")] {
        assert_eq!(recorded(silent.port, request, 10, "hello").await, json!([decision, "broken-off"]));
    }
}

#[tokio::test]
async fn an_answer_that_broke_off_is_recorded_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for length in [5, 10] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nhello");
            stream.read_buf(&mut Vec::new()).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(recorded(port, "GET /", 0, "").await, json!(["allowed", null]), "the control");
    assert_eq!(recorded(port, "GET /", 0, "").await, json!(["allowed", "broken-off"]));
}
