//! Whom the gateway takes for a workspace: its address says which one, and its agent's token that the agent is talking.

use super::*;

const REQUEST: &str = "GET http://telemetry.example/ HTTP/1.1\r\nHost: a\r\n\r\n";

impl Gateway {
    /// Sends a request to the port itself, after these bytes.
    async fn greeted(&self, greeting: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.port).await.unwrap();
        stream.write_all(greeting).await.unwrap();
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
        read(&mut stream).await
    }
}

fn greeting(host_key: &russh::keys::PrivateKey, pod_uid: &str) -> Vec<u8> {
    [&[TOKEN_MARK][..], Token::sign(host_key, pod_uid).unwrap().as_bytes()].concat()
}

#[tokio::test]
async fn b13_only_the_agent_speaks_for_its_workspace() {
    let gateway = gateway().await;
    let own = greeting(&host_key(), "pod-uid");
    assert!(gateway.greeted(&own).await.ends_with(DENIED), "the control");
    let mut changed = own.clone();
    *changed.last_mut().unwrap() ^= 1;
    let other_key = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&[2; 32]).into();
    // Of one that is short, what follows is taken for the rest.
    let short = own[..64].to_vec();
    for greeting in
        [vec![], changed, greeting(&host_key(), "other-pod"), greeting(&other_key, "pod-uid"), short]
    {
        let answer = gateway.greeted(&greeting).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("\r\nx-ws-denied: not-the-agent\r\n"), "{answer}");
        assert!(answer.ends_with("programs find it at $HTTPS_PROXY\n"), "{answer}");
    }
    gateway.settle().await;
    let denied = gateway.log.lines();
    assert_eq!(
        (&denied[0]["workspace"], &denied[0]["reason"]),
        (&json!("fix-tests"), &json!("host-not-allowed"))
    );
    assert!(denied[1..].iter().all(|line| line["workspace"].is_null()), "{denied:?}");
    assert_eq!(gateway.status.lock().unwrap()["egress"]["denied"], 1, "nobody else counts for it");
}

#[tokio::test]
async fn b13_a_token_of_somebody_else_is_none_also_when_it_comes_first() {
    let other_key = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&[2; 32]).into();
    for (greeting, is_agent) in [
        (greeting(&host_key(), "pod-uid"), true),
        (greeting(&host_key(), "other-pod"), false),
        (greeting(&other_key, "pod-uid"), false),
    ] {
        let answer = gateway().await.greeted(&greeting).await;
        assert_eq!(answer.ends_with(DENIED), is_agent, "{answer}");
        assert_eq!(answer.contains("\r\nx-ws-denied: not-the-agent\r\n"), !is_agent, "{answer}");
    }
}

#[tokio::test]
async fn a_pod_may_talk_before_the_watch_has_brought_its_host_key() {
    let gateway = gateway().await;
    gateway.judge.send_if_modified(|policies| policies.remove_workspace("ws-uid"));
    let asked = gateway.send(REQUEST.as_bytes());
    let watched = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.judge.send_replace(policies_with(&json!([])));
    };
    let (answer, ()) = tokio::join!(asked, watched);
    assert!(answer.ends_with(DENIED), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_greets_and_says_no_more_is_cut_off() {
    let gateway = gateway().await;
    let start = Instant::now();
    let mut stream = TcpStream::connect(gateway.port).await.unwrap();
    stream.write_all(&[TOKEN_MARK]).await.unwrap();
    assert_eq!(read(&mut stream).await, "");
    assert!((10..13).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stranger_is_told_so_and_recorded() {
    let gateway = gateway().await;
    let (printed, code) = gateway.curl(&["--interface", UNKNOWN, "-i", "http://telemetry.example/"]).await;
    assert!(
        printed.starts_with("HTTP/1.1 403 ") && printed.contains("\r\nx-ws-denied: unknown-workspace\r\n"),
        "{printed}"
    );
    assert_eq!(code, 0);
    gateway.settle().await;
    let line = &gateway.log.lines()[0];
    assert_eq!(
        ["workspace", "reason", "host", "source"].map(|key| line[key].clone()),
        [Value::Null, "unknown-workspace".into(), "telemetry.example".into(), UNKNOWN.into()]
    );
    assert_eq!(*gateway.status.lock().unwrap(), json!({}));
}

#[tokio::test]
async fn a_pod_may_talk_before_the_watch_has_brought_its_address() {
    let gateway = gateway().await;
    gateway.index.send_modify(|sessions| sessions.remove("pod-uid"));
    let asked = gateway.send(b"GET http://telemetry.example/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let watched = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        gateway.index.send_modify(|sessions| sessions.insert(observed(KNOWN)));
        Instant::now()
    };
    let (answer, watched) = tokio::join!(asked, watched);
    assert!(watched.elapsed() < UNKNOWN_PATIENCE / 2, "it waits for the event and not for a time");
    assert!(answer.ends_with(DENIED), "{answer}");
}
