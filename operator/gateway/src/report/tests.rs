//! Conversations with an API server that the test plays.

use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_test::mock::{self, Handle, SendResponse};

use super::*;
use crate::testing::{observed, session};

const PATH: &str = "/apis/ws.dev/v1alpha1/namespaces/team-a/workspaces/fix-tests";

struct Server {
    handle: Handle<Request<Body>, Response<Body>>,
    reports: Reports,
    session: Arc<Session>,
    /// Keeps the index that the reports look at.
    _sessions: watch::Sender<Sessions>,
}

fn server() -> Server {
    let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
    let mut index = Sessions::default();
    index.insert(observed("10.244.0.5"));
    let (sessions, receiver) = watch::channel(index);
    let reports = Reports::new(Client::new(service, "default"), receiver, Metrics::default());
    Server { handle, reports, session: session(), _sessions: sessions }
}

impl Server {
    async fn get(&mut self) -> SendResponse<Response<Body>> {
        let (request, answer) = self.handle.next_request().await.unwrap();
        assert_eq!((request.method().as_str(), request.uri().path()), ("GET", PATH));
        answer
    }

    fn deny(&self) {
        self.reports.denied(&self.session, "telemetry.example", Reason::HostNotAllowed);
    }

    /// The version and the status that are applied.
    async fn patch(&mut self) -> (Value, SendResponse<Response<Body>>) {
        let (request, answer) = self.handle.next_request().await.unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string()),
            ("PATCH", format!("{PATH}/status?&force=true&fieldManager=ws-gateway&fieldValidation=Strict"))
        );
        assert_eq!(request.headers()["content-type"], "application/apply-patch+yaml");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        (serde_json::from_slice(&body).unwrap(), answer)
    }
}

fn workspace(version: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "fix-tests", "namespace": "team-a", "uid": "ws-uid", "resourceVersion": version},
        "spec": {"sshPublicKeys": []}, "status": status,
    })
}

fn send(answer: SendResponse<Response<Body>>, status: u16, body: &Value) {
    let body = Body::from(serde_json::to_vec(body).unwrap());
    answer.send_response(Response::builder().status(status).body(body).unwrap());
}

fn refuse(answer: SendResponse<Response<Body>>, code: u16, reason: &str) {
    send(
        answer,
        code,
        &json!({"kind": "Status", "status": "Failure", "message": reason, "reason": reason, "code": code}),
    );
}

fn reserved_bytes(patch: &Value) -> &Value {
    &patch["status"]["egress"]["reservedBytes"]
}

fn denied(patch: &Value) -> (&Value, &Value) {
    (&patch["metadata"]["resourceVersion"], &patch["status"]["egress"]["denied"])
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_two_writes_a_second_apart_and_one_read() {
    let mut server = server();
    let start = Instant::now();
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({"phase": "Ready"})));
    let (patch, answer) = server.patch().await;
    assert_eq!(denied(&patch), (&json!("1"), &json!(1)));
    for _ in 0..999 {
        server.deny();
    }
    send(answer, 200, &workspace("2", &patch["status"]));
    let (patch, answer) = server.patch().await;
    assert_eq!(denied(&patch), (&json!("2"), &json!(1_000)));
    assert_eq!(start.elapsed().as_millis() / 10, 100);
    send(answer, 200, &workspace("3", &patch["status"]));
    server.reports.close(INTERVAL).await;
    assert!(server.reports.writers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_when_a_workspace_begins_to_end_is_written_at_once() {
    let mut server = server();
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (patch, answer) = server.patch().await;
    send(answer, 200, &workspace("2", &patch["status"]));
    // The writer has seen its answer, and waits for its next turn.
    sleep(INTERVAL / 5).await;
    let start = Instant::now();
    server.deny();
    server.session.end();
    let (patch, answer) = server.patch().await;
    assert_eq!(denied(&patch), (&json!("2"), &json!(2)));
    assert!(start.elapsed() < INTERVAL / 2, "{:?}", start.elapsed());
    send(answer, 200, &workspace("3", &patch["status"]));
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_is_written_each_second_and_more_seldom_only_if_many_go_on() {
    let mut server = server();
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (patch, mut answer) = server.patch().await;
    let (mut status, start) = (patch["status"].clone(), Instant::now());
    for second in 1..=40 {
        server.deny();
        send(answer, 200, &workspace("1", &status));
        let (patch, next) = server.patch().await;
        assert_eq!(start.elapsed().as_secs(), second);
        (status, answer) = (patch["status"].clone(), next);
    }
    assert_eq!(server.reports.pause(), INTERVAL);
    for _ in 0..RATE * 4 {
        server.reports.writers.spawn(std::future::pending::<()>());
    }
    assert_eq!(server.reports.pause().as_secs(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_denial_that_is_news_is_seen_within_two_seconds_however_many_others_write() {
    let mut server = server();
    for _ in 0..RATE * 60 {
        server.reports.writers.spawn(std::future::pending::<()>());
    }
    assert_eq!(server.reports.pause(), MAX_PAUSE);
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (patch, answer) = server.patch().await;
    send(answer, 200, &workspace("2", &patch["status"]));
    let start = Instant::now();
    server.deny();
    sleep(INTERVAL / 10).await;
    server.reports.denied(&server.session, "other.example", Reason::HostNotAllowed);
    let (patch, answer) = server.patch().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(patch["status"]["egress"]["lastDenied"][0]["host"], "other.example");
    send(answer, 200, &workspace("3", &patch["status"]));
    // What is said already takes its turn.
    server.deny();
    let (_, answer) = server.patch().await;
    assert!(start.elapsed() >= MAX_PAUSE, "{:?}", start.elapsed());
    send(answer, 200, &workspace("4", &json!({})));
}

#[tokio::test(start_paused = true)]
async fn ever_more_hosts_are_written_each_second_at_most() {
    let mut server = server();
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (mut patch, mut answer) = server.patch().await;
    let start = Instant::now();
    for second in 1..=5 {
        for host in 0..10 {
            let host = format!("{second}-{host}.example");
            server.reports.denied(&server.session, &host, Reason::HostNotAllowed);
        }
        send(answer, 200, &workspace("1", &patch["status"]));
        (patch, answer) = server.patch().await;
        assert_eq!(start.elapsed().as_secs(), second);
    }
}

#[tokio::test(start_paused = true)]
async fn b20_what_two_replicas_set_aside_is_one_budget() {
    let mut server = server();
    let life = (BudgetScope::Class, 100);
    let (reports, session) = (server.reports.clone(), server.session.clone());
    let reserve = move || {
        let (reports, session, life) = (reports.clone(), session.clone(), life.clone());
        tokio::spawn(async move { reports.reserve(&session, &life, 10, 60).await })
    };
    let reserved = reserve();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (patch, answer) = server.patch().await;
    assert_eq!((&patch["metadata"]["resourceVersion"], reserved_bytes(&patch)), (&json!("1"), &json!(60)));
    // Another replica was faster.
    refuse(answer, 409, "Conflict");
    let others = |bytes| json!({"egress": {"reservedBytes": bytes}});
    send(server.get().await, 200, &workspace("2", &others(50)));
    let (patch, answer) = server.patch().await;
    assert_eq!((&patch["metadata"]["resourceVersion"], reserved_bytes(&patch)), (&json!("2"), &json!(100)));
    send(answer, 200, &workspace("3", &patch["status"]));
    assert_eq!(reserved.await.unwrap(), Ok(50), "what is left");
    for _ in 0..3 {
        assert_eq!(reserve().await.unwrap(), Err(Unreserved::Spent), "the API server is not asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_read_again_and_nothing_is_lost_or_counted_twice() {
    let mut server = server();
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (_, answer) = server.patch().await;
    refuse(answer, 409, "Conflict");
    let other = json!({"egress": {"allowed": 0, "denied": 5, "uploadedBytes": 0, "lastDenied": [
        {"host": "telemetry.example", "count": 4, "at": "2026-11-21T08:00:00Z"}, {"host": "b", "count": 1, "at": "2026-11-21T07:00:00Z"},
    ]}});
    send(server.get().await, 200, &workspace("2", &other));
    let (patch, answer) = server.patch().await;
    assert_eq!(denied(&patch), (&json!("2"), &json!(6)));
    let hosts = &patch["status"]["egress"]["lastDenied"];
    assert_eq!(
        (&hosts[0]["host"], &hosts[0]["count"], &hosts[1]["host"]),
        (&json!("telemetry.example"), &json!(5), &json!("b"))
    );
    send(answer, 200, &workspace("3", &patch["status"]));
    server.reports.close(INTERVAL).await;
    let patches = &server.reports.metrics.status_patches;
    for outcome in [Outcome::Conflict, Outcome::Written] {
        assert_eq!(patches.get_or_create(&Patched { outcome }).get(), 1, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_never_remove_the_proof_and_the_proof_never_the_counts() {
    let mut server = server();
    server.reports.isolated(&server.session, 120);
    send(
        server.get().await,
        200,
        &workspace("1", &json!({"egress": {"allowed": 0, "denied": 5, "uploadedBytes": 0}})),
    );
    let (proof, answer) = server.patch().await;
    assert_eq!(denied(&proof), (&json!("1"), &json!(5)));
    assert_eq!(proof["status"]["conditions"][0]["type"], "EgressEnforced");
    server.deny();
    send(answer, 200, &workspace("2", &proof["status"]));
    let (count, answer) = server.patch().await;
    assert_eq!(denied(&count), (&json!("2"), &json!(6)));
    for kept in ["conditions", "timings"] {
        assert_eq!(count["status"][kept], proof["status"][kept]);
    }
    send(answer, 200, &workspace("3", &count["status"]));
    server.reports.close(INTERVAL).await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_does_not_wait_for_its_turn_but_only_the_first() {
    let mut server = server();
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (patch, answer) = server.patch().await;
    send(answer, 200, &workspace("2", &patch["status"]));
    let start = Instant::now();
    for (attempts, after) in [(120, 0), (1, 1)] {
        server.deny();
        tokio::time::sleep(Duration::from_millis(1)).await;
        server.reports.isolated(&server.session, attempts);
        let (patch, answer) = server.patch().await;
        assert_eq!(start.elapsed().as_secs(), after);
        assert_eq!(patch["status"]["conditions"][0]["type"], "EgressEnforced");
        send(answer, 200, &workspace("3", &patch["status"]));
    }
    server.reports.close(INTERVAL).await;
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_is_recorded_already_is_not_written_again() {
    let mut server = server();
    server.reports.isolated(&server.session, 120);
    let condition = json!({"type": "EgressEnforced", "status": "True", "reason": "Proven", "message": "", "lastTransitionTime": "2026-11-21T08:00:00Z"});
    send(server.get().await, 200, &workspace("1", &json!({"conditions": [condition]})));
    server.reports.close(INTERVAL).await;
    assert!(server.reports.writers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_fails_is_asked_again_until_it_works() {
    let mut server = server();
    let start = Instant::now();
    server.reports.isolated(&server.session, 120);
    refuse(server.get().await, 500, "InternalError");
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (_, answer) = server.patch().await;
    refuse(answer, 403, "Forbidden");
    assert_eq!(start.elapsed().as_secs(), 1);
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (patch, answer) = server.patch().await;
    assert_eq!(patch["status"]["conditions"][0]["status"], "True");
    send(answer, 200, &workspace("2", &patch["status"]));
    server.reports.close(INTERVAL).await;
    assert!(server.reports.writers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_workspace_that_is_gone_or_replaced_is_left_alone() {
    for replaced in [false, true] {
        let mut server = server();
        server.deny();
        let answer = server.get().await;
        if replaced {
            let mut other = workspace("9", &json!({}));
            other["metadata"]["uid"] = "another".into();
            send(answer, 200, &other);
        } else {
            refuse(answer, 404, "NotFound");
        }
        server.reports.writers.close();
        server.reports.writers.wait().await;
        server.deny();
        assert!(server.reports.writers.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_written_before_the_end() {
    let mut server = server();
    server.deny();
    send(server.get().await, 200, &workspace("1", &json!({})));
    let (patch, answer) = server.patch().await;
    server.deny();
    send(answer, 200, &workspace("2", &patch["status"]));
    let reports = server.reports.clone();
    let closed = tokio::spawn(async move { reports.close(INTERVAL * 5).await });
    let start = Instant::now();
    let (patch, answer) = server.patch().await;
    assert_eq!(denied(&patch), (&json!("2"), &json!(2)));
    send(answer, 200, &workspace("3", &patch["status"]));
    closed.await.unwrap();
    assert!(start.elapsed() < INTERVAL);
}
