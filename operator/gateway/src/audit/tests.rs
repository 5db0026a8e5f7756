use std::io;

use serde_json::{Value, json};

use super::*;
use crate::{
    decisions::Reader,
    testing::{Shared as Sink, session},
};

fn subject(host: &str) -> Subject {
    Subject {
        method: "CONNECT".into(),
        host: host.into(),
        port: Some(443),
        source: "10.244.0.5".parse().unwrap(),
    }
}

async fn logged(record: impl FnOnce(&Audit)) -> Vec<Value> {
    let sink = Sink::default();
    let audit = Audit::start(sink.clone(), Metrics::default()).unwrap();
    record(&audit);
    audit.close().await;
    assert_is_chained(&sink.text());
    sink.lines()
}

fn assert_is_chained(log: &str) {
    let mut last = "0".repeat(64);
    for line in log.lines() {
        let json: Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["previous"], last, "{line}");
        last = blake3::hash(line.as_bytes()).to_string();
    }
}

fn passage(rule: &str, sends: bool, sent_bytes: u64, received_bytes: u64) -> Passage {
    Passage {
        rule: rule.into(),
        path: Some("/guide/{page}".into()),
        status: Some(StatusCode::OK),
        is_missing: false,
        failure: None,
        has_credential: true,
        sends,
        sent_bytes,
        received_bytes,
        took: Duration::from_millis(17),
    }
}

#[tokio::test]
async fn decisions_at_once_are_in_the_order_of_their_numbers() {
    const AT_ONCE: u64 = 8;
    const EACH: u64 = 32;
    let audit = Audit::start(io::sink(), Metrics::default()).unwrap();
    for _ in 0..50 {
        let session = session();
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    (0..EACH).for_each(|_| {
                        audit.allowed(&session, &subject("docs.example"), passage("docs", false, 1, 1));
                    });
                });
            }
        });
        let mut reader = Reader::new(session, false);
        for number in 1..=AT_ONCE * EACH {
            let line: Value = serde_json::from_slice(&reader.next().await.unwrap()).unwrap();
            assert_eq!(line["seq"], number);
        }
    }
    audit.close().await;
}

#[tokio::test]
async fn a_denial_is_one_line() {
    let session = session();
    let mut lines = logged(|audit| {
        audit.denied(Some(&session), Reason::HostNotAllowed, &subject("telemetry.example"));
        audit.denied(None, Reason::HostNotAllowed, &subject("telemetry.example"));
    })
    .await;
    for line in &mut lines {
        let ts: Timestamp = line["ts"].as_str().unwrap().parse().unwrap();
        assert!(Timestamp::now().duration_since(ts).as_secs() < 10);
        line.as_object_mut().unwrap().retain(|name, _| name != "ts" && name != "previous");
    }
    let mut expected = json!({
        "namespace": "team-a", "workspace": "fix-tests", "uid": "ws-uid", "seq": 1, "decision": "denied", "count": 1,
        "reason": "host-not-allowed", "rule": null, "method": "CONNECT", "host": "telemetry.example", "port": 443, "source": "10.244.0.5",
    });
    assert_eq!(lines[0], expected);
    for of_the_workspace in ["namespace", "workspace", "uid"] {
        expected[of_the_workspace] = Value::Null;
    }
    assert_eq!(lines[1], expected);
}

#[tokio::test]
async fn what_passed_says_its_rule_and_its_bytes_and_no_more() {
    let session = session();
    let passage = passage("docs", false, 120, 4_096);
    let mut lines = logged(|audit| audit.allowed(&session, &subject("docs.example"), passage)).await;
    lines[0].as_object_mut().unwrap().retain(|name, _| name != "ts" && name != "previous");
    assert_eq!(
        lines[0],
        json!({
            "namespace": "team-a", "workspace": "fix-tests", "uid": "ws-uid", "seq": 1, "decision": "allowed", "count": 1,
            "reason": null, "rule": "docs", "method": "CONNECT", "host": "docs.example", "port": 443, "source": "10.244.0.5",
            "path": "/guide/{page}", "status": 200, "credential": true, "sentBytes": 120, "receivedBytes": 4096, "milliseconds": 17,
        })
    );
}

#[tokio::test]
async fn what_a_workspace_wrote_is_bounded_ascii() {
    let hosts = ["a\nb\"}", "\u{202e}moc", &"🦀".repeat(1_000), &"\u{1}".repeat(1_000)].map(String::from);
    let lines = logged(|audit| {
        for host in &hosts {
            audit.denied(
                None,
                Reason::HostNotAllowed,
                &Subject { method: "M".repeat(1_000), ..subject(host) },
            );
        }
    })
    .await;
    assert_eq!(lines.len(), hosts.len());
    for line in lines {
        let (host, method) = (line["host"].as_str().unwrap(), line["method"].as_str().unwrap());
        assert!(host.len() <= MAX_NAME && host.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{host}");
        assert_eq!(method.len(), MAX_METHOD);
    }
}

#[tokio::test]
async fn b25_a_flood_is_summed_up_and_leaves_others_their_lines() {
    let (loud, quiet, began) = (session(), session(), std::time::Instant::now());
    let lines = logged(|audit| {
        for _ in 0..100_000 {
            audit.denied(Some(&loud), Reason::HostNotAllowed, &subject("telemetry.example"));
        }
        audit.denied(Some(&quiet), Reason::HostNotAllowed, &subject("quiet.example"));
    })
    .await;
    let counted: u64 = lines.iter().map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, 100_001);
    // One more each second that it takes, and its sum.
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(lines.len() < 50 + 2 * seconds, "{} in {seconds} s", lines.len());
    assert!(lines.iter().any(|line| line["host"] == "quiet.example"));
    assert_eq!(lines.last().unwrap()["seq"], 100_000);
}

#[tokio::test]
async fn b25_a_flood_of_what_is_allowed_hides_neither_an_upload_nor_a_byte() {
    const FLOOD: u64 = 10_000;
    let session = session();
    let lines = logged(|audit| {
        let pass = |passage: &Passage| audit.allowed(&session, &subject("a.example"), passage.clone());
        let read = passage("docs", false, 100, 1_000);
        (0..FLOOD).for_each(|_| pass(&read));
        // A short one, as a key is, and a long one.
        pass(&passage("paste", true, 700, 10));
        (0..FLOOD).for_each(|_| pass(&read));
        pass(&passage("paste", true, 1 << 20, 10));
        (0..FLOOD).for_each(|_| pass(&Passage { failure: Some(Reason::Revoked), ..read.clone() }));
    })
    .await;
    let of = |rule: &str| -> Vec<&Value> { lines.iter().filter(|line| line["rule"] == rule).collect() };
    let sum = |lines: &[&Value], member: &str| -> u64 {
        lines.iter().map(|line| line[member].as_u64().unwrap()).sum()
    };
    let (docs, uploads) = (of("docs"), of("paste"));
    let told: Vec<_> = uploads.iter().map(|line| (&line["seq"], &line["sentBytes"])).collect();
    assert_eq!(told, [(&json!(FLOOD + 1), &json!(700)), (&json!(FLOOD * 2 + 2), &json!(1 << 20))]);
    let total = |member: &str| sum(&docs, member);
    assert_eq!(
        [total("count"), total("sentBytes"), total("receivedBytes")],
        [1, 100, 1_000].map(|n| n * 3 * FLOOD)
    );
    let cut: Vec<_> = docs.iter().filter(|line| line["reason"] == "revoked").copied().collect();
    assert_eq!(sum(&cut, "count"), FLOOD, "it is told apart from what came to its end");
    assert!(lines.len() < 2_500, "{}", lines.len());
}

#[tokio::test]
async fn a_reader_that_is_stuck_stops_nobody() {
    struct Stuck;
    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            loop {
                thread::park();
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            self.write(&[]).map(drop)
        }
    }
    let metrics = Metrics::default();
    let audit = Audit::start(Stuck, metrics.clone()).unwrap();
    for _ in 0..BACKLOG * 2 {
        audit.denied(Some(&session()), Reason::HostNotAllowed, &subject("telemetry.example"));
    }
    // What does not wait in the backlog is lost but for what the writer had taken already.
    let lost = usize::try_from(metrics.audit_lost.get()).unwrap();
    assert!((BACKLOG - 100..=BACKLOG).contains(&lost), "{lost}");
}
