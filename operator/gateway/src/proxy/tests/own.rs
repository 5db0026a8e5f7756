//! The gateway under its own name.

use super::*;

#[tokio::test]
async fn the_gateway_says_what_it_decided_and_proves_who_it_is() {
    let gateway = gateway().await;
    gateway.curl(&["https://telemetry.example/collect"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, gateway.proxy.authority.certificate()).unwrap();
    let trusted = ["--cacert", file.to_str().unwrap()];
    let url = "https://gateway.ws.internal/v1/decisions";
    let (printed, _) = gateway.curl(&[&trusted[..], &[url]].concat()).await;
    let decided: ws_api::gateway::Decided = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (decided.seq, decided.decision.as_str(), decided.host.as_str(), decided.reason.as_deref()),
        (1, "denied", "telemetry.example", Some("host-not-allowed"))
    );
    let (printed, code) = gateway.curl(&[url]).await;
    assert!(code == 60 && printed.contains("certificate"), "who trusts others does not take it: {printed}");
    let (printed, _) =
        gateway.curl(&[&trusted[..], &["https://gateway.ws.internal/v1/other"]].concat()).await;
    assert_eq!(printed, "ws: there is no such thing at the gateway\n");
    let stranger = [&trusted[..], &["--interface", UNKNOWN, url]].concat();
    let (printed, code) = gateway.curl(&stranger).await;
    assert!(code != 0 && !printed.contains("telemetry"), "{printed}");
}

#[tokio::test]
async fn b25_a_workspace_has_so_many_requests_under_way_and_others_have_theirs() {
    let gateway = gateway().await;
    let session = gateway.proxy.sessions.borrow().at(KNOWN.parse().unwrap()).unwrap().clone();
    let turns: Vec<_> = std::iter::from_fn(|| session.turn()).take(10_000).collect();
    assert_eq!(turns.len(), 128);
    for url in ["https://gateway.ws.internal/v1/decisions", "http://telemetry.example/"] {
        let (printed, _) = gateway.curl(&["-k", "-i", url]).await;
        assert!(printed.contains(" 429 ") && printed.contains("requests under way"), "{printed}");
    }
    drop(turns);
    let (printed, _) = gateway.curl(&["http://telemetry.example/"]).await;
    assert_eq!(printed, DENIED);
}

#[tokio::test]
async fn who_follows_sees_a_decision_as_it_is_made() {
    let gateway = gateway().await;
    let url = "https://gateway.ws.internal/v1/decisions?follow";
    let arguments = ["-k", "-N", "--max-time", "2", url];
    let follow = gateway.curl(&arguments);
    let denied = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        gateway.curl(&["http://telemetry.example/"]).await
    };
    let ((printed, code), _) = tokio::join!(follow, denied);
    assert!(printed.contains("telemetry.example") && code == 28, "{printed}");
}
