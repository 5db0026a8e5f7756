//! Decisions while the policy changes (B28).

use super::{
    passing::{HELLO, rule, server},
    *,
};
use crate::testing::policies_with;

#[tokio::test]
async fn b28_no_request_is_allowed_by_a_policy_that_was_taken_back_before_it_came() {
    const FLIPS: usize = 1_000;
    let (gateway, server) = (gateway().await, server(HELLO).await);
    let allowing = json!([rule(&server, &json!({"methods": ["GET"], "paths": ["/**"]}))]);
    let host = format!("ollama.models.svc:{}", server.port);
    let request = |path: &str| {
        format!("GET http://{host}/{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    let is_over = CancellationToken::new();
    let flips = async {
        let mut allowed = 0;
        for flip in 0..FLIPS {
            gateway.judge.send_replace(policies_with(&allowing));
            if flip % 10 == 0 {
                allowed += usize::from(gateway.send(request("open").as_bytes()).await.ends_with("hello"));
            }
            gateway.judge.send_replace(policies_with(&json!([])));
            let answer = gateway.send(request("shut").as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "flip {flip}: {answer}");
        }
        is_over.cancel();
        allowed
    };
    let crowd = request("crowd");
    let (one, other, allowed) =
        tokio::join!(crowding(&gateway, &crowd, &is_over), crowding(&gateway, &crowd, &is_over), flips);
    assert_eq!(allowed, FLIPS / 10);
    assert!(one.min(other) > FLIPS / 10, "{one} and {other} answers");
    assert!(!server.got.text().contains("/shut"));
}

/// Asks again and again; how many answers came.
async fn crowding(gateway: &Gateway, request: &str, is_over: &CancellationToken) -> usize {
    let mut answers = 0;
    while !is_over.is_cancelled() {
        answers += usize::from(!gateway.send(request.as_bytes()).await.is_empty());
    }
    answers
}
