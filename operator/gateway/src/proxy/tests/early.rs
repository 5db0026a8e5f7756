//! A host that answers before it has the body, and goes on reading.

use super::{
    passing::{rule, server_that},
    *,
};

#[tokio::test]
async fn b20_what_follows_an_early_answer_is_counted_as_well() {
    const BODY: usize = 1_000;
    const BUDGET: usize = 4_000;
    const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let server = server_that(|read| read.starts_with(b"POST"), DONE).await;
    let gateway = gateway().await;
    let mut rule = rule(&server, &json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "1Ki"}}));
    rule["budget"] = json!({"upload": BUDGET.to_string()});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let host = format!("ollama.models.svc:{}", server.port);
    let head = format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: {BODY}\r\n\r\n");

    let (mut sent, mut refused) = (0, 0);
    for _ in 0..8 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        if answer == *b"HTTP/1.1 413" {
            refused += 1;
            continue;
        }
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream.write_all("x".repeat(BODY).as_bytes()).await.unwrap();
        sent += BODY;
        let arrives = async {
            while server.got.text().matches('x').count() < sent {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, arrives).await.expect("the host reads on");
    }
    assert!(sent > 0 && refused > 0, "{sent} bytes, {refused} refusals");
    assert!(sent <= BUDGET, "{sent}");
    gateway.settle().await;
    let bytes = |line: &Value| line["sentBytes"].as_u64().unwrap_or_default();
    let told: u64 = gateway.log.lines().iter().map(bytes).sum();
    assert!(told >= sent as u64, "{told} of {sent} bytes are written down");
}
