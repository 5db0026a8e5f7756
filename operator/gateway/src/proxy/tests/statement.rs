//! What an agent says to the gateway itself.

use super::*;

const STATEMENT: &str = r#"{"attempts":120,"afterMs":71}"#;

fn post(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /v1/isolated HTTP/1.1\r\nHost: 10.96.0.7:3128\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

#[tokio::test]
async fn the_statement_of_an_agent_is_taken_at_once_and_recorded_once() {
    let gateway = gateway().await;
    let answer = gateway.send(&post(STATEMENT)).await;
    assert_eq!(status_line(&answer), "HTTP/1.1 204 No Content");
    assert_eq!(
        status_line(&gateway.send(&post(r#"{"attempts":1,"afterMs":1}"#)).await),
        "HTTP/1.1 204 No Content"
    );
    gateway.settle().await;
    let status = gateway.status.lock().unwrap().clone();
    assert_eq!(status["conditions"][0]["status"], "True");
    assert!(status["conditions"][0]["message"].as_str().unwrap().contains(" 120 attempts "));
    assert!(status["timings"]["isolated"].is_string() && status["egress"].is_null(), "{status}");
    assert!(gateway.log.lines().is_empty());
}

#[tokio::test]
async fn what_only_looks_like_a_statement_changes_nothing() {
    let gateway = gateway().await;
    let padded = format!("{STATEMENT}{}", " ".repeat(1_024));
    let proxied = format!(
        "POST http://ws-gateway/v1/isolated HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\n{STATEMENT}"
    );
    let mut no_text = post(r#"{"attempts":1,"afterMs":1,"?":1}"#);
    no_text.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
    for (request, status) in [
        (no_text, "400"),
        (post("{}"), "400"),
        (post(r#"{"attempts":-1,"afterMs":1}"#), "400"),
        (post(""), "400"),
        (post(&padded), "400"),
        (proxied.into_bytes(), "403"),
        (b"GET /v1/isolated HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "403"),
        (b"POST /v1/isolated/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_vec(), "403"),
    ] {
        let answer = gateway.send(&request).await;
        assert_eq!(status_line(&answer).split(' ').nth(1), Some(status), "{}", request.escape_ascii());
    }
    gateway.settle().await;
    assert!(gateway.status.lock().unwrap()["conditions"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_does_not_end_is_cut_off() {
    let gateway = gateway().await;
    let request = post(STATEMENT);
    let answer = gateway.send(&request[..request.len() - 1]).await;
    assert_eq!(status_line(&answer), "HTTP/1.1 408 Request Timeout");
}
