//! A credential goes out and does not come back.

use super::{
    passing::{rule, server},
    *,
};

/// What a workspace gets of a host that answers with this.
async fn got(answer: &'static str) -> String {
    let (gateway, server) = (gateway().await, server(answer).await);
    let mut rule = rule(&server, &json!({"methods": ["GET"], "paths": ["/"]}));
    rule["credential"] = json!({"secretName": "token", "key": "key"});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    let url = format!("http://ollama.models.svc:{}/", server.port);
    let (printed, _) = gateway.curl(&["-i", "--raw", &url]).await;
    assert!(server.got.text().contains(&format!("authorization: Bearer {CREDENTIAL}\r\n")), "it is put in");
    printed
}

#[tokio::test]
async fn what_only_begins_as_a_credential_is_passed_on_also_before_trailers() {
    let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n9\r\nhe sk-lab\r\n0\r\nx-end: y\r\n\r\n";
    let printed = got(whole).await;
    let data: String =
        printed.split("\r\n").filter(|line| line.starts_with("he") || line.starts_with("sk")).collect();
    assert!(data == "he sk-lab" || printed.contains("he sk-lab"), "{printed}");
}

#[tokio::test]
async fn b24_a_credential_does_not_come_back_in_pieces_headers_or_trailers() {
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhe sk-lab\r\n9\r\n-aaaaaaaa\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nserver-timing: sk-lab-aaaaaaaa\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: /?c2stbGFiLWFhYWFhYWFh\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 Oops\r\ncontent-length: 30\r\n\r\n736b2d6c61622d6161616161616161",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n2\r\nhe\r\n0\r\nx: sk-lab-aaaaaaaa\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhe",
        "HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nhe",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-sk-lab-aaaaaaaa: y\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n2\r\nhe\r\n0\r\nsk-lab-aaaaaaaa: x\r\n\r\n",
    ] {
        let printed = got(answer).await;
        for spelling in [CREDENTIAL, "aaaaaaaa", "c2stbGFiLWFhYWFhYWFh", "736b2d6c61622d6161"] {
            assert!(!printed.contains(spelling), "{answer:?}: {printed}");
        }
        assert!(!printed.ends_with("\r\n\r\nhe"), "what cannot be searched: {answer:?}: {printed}");
    }
}

#[tokio::test]
async fn b24_a_session_that_the_credential_opened_is_not_the_workspaces() {
    let printed =
        got("HTTP/1.1 200 OK\r\nset-cookie: session=s\r\nx-answer: y\r\ncontent-length: 5\r\n\r\nhello")
            .await;
    assert!(printed.ends_with("hello") && printed.contains("x-answer: y"), "{printed}");
    assert!(!printed.contains("session"), "{printed}");
}
