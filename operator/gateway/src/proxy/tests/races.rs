//! Decisions, and what is under way by them, while the policy changes (A13, B28).

use super::{
    passing::{ENDLESS, HELLO, Server, first_event, rule, server},
    *,
};

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

/// A rule that wants one of these models in a body, with this budget.
fn of_models(server: &Server, models: &[&str], upload: &str) -> Value {
    let values = json!([{"at": "model", "anyOf": models}]);
    let body = json!({"max": "1Ki", "json": {"required": ["model"], "values": values}});
    let mut rule = rule(server, &json!({"methods": ["POST"], "paths": ["/"], "body": body}));
    rule["budget"] = json!({"upload": upload});
    json!([rule])
}

#[tokio::test]
async fn a13_a_stream_is_cut_when_its_rule_would_not_have_let_it_begin() {
    for (models, upload, goes_on) in [
        (&["m", "n"][..], "1Mi", true),
        (&["m", "n"], "2Mi", true),
        (&["n"], "1Mi", false),
        (&["m", "n"], "1Ki", false),
    ] {
        let (gateway, server) = (gateway().await, server(ENDLESS).await);
        gateway.judge.send_replace(policies_with(&of_models(&server, &["m", "n"], "1Mi")));
        let host = format!("ollama.models.svc:{}", server.port);
        let body = "{\"model\": \"m\"}";
        let head = format!(
            "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = first_event(&mut stream).await;
        gateway.judge.send_replace(policies_with(&of_models(&server, models, upload)));
        let patience = if goes_on { Duration::from_millis(500) } else { Duration::from_secs(5) };
        let cut = timeout(patience, stream.read_to_end(&mut answer)).await;
        assert_eq!(cut.is_err(), goes_on, "{models:?} {upload}");
    }
}

#[tokio::test]
async fn a13_an_upload_ends_with_its_rule_also_if_nobody_reads_the_answer() {
    let (gateway, server) = (gateway().await, server(ENDLESS).await);
    let allow = json!({"methods": ["POST"], "paths": ["/"], "body": {"max": "1Gi"}});
    gateway.judge.send_replace(policies_with(&json!([rule(&server, &allow)])));
    let host = format!("ollama.models.svc:{}", server.port);
    let head = format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let (mut back, mut there) = TcpStream::connect(gateway.address).await.unwrap().into_split();
    there.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1 << 10));
    let uploading = tokio::spawn(async move {
        while timeout(Duration::from_secs(5), there.write_all(chunk.as_bytes()))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let mut answer = vec![0; 16];
    back.read_exact(&mut answer).await.unwrap();
    let arrived = async |seconds| {
        let before = server.got.text().len();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        server.got.text().len() - before
    };
    assert!(arrived(1).await > 1 << 10, "it goes on");
    gateway.judge.send_replace(policies_with(&json!([])));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(arrived(1).await, 0, "and ends with its rule");
    uploading.abort();
}
