//! Conversations with an API server that is not there: what is asked, in which order, and what follows from its answers.

use http::StatusCode;
use kube::runtime::events::Reporter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    build::network::class_policy,
    testing::{
        POD_UID, ca, class,
        cluster::{
            Asked, END, END_POD, EVENT, MAKE_POD, POLICY, READ_POD, SECRET, SILENCE, STATUS, Seen, apiserver,
            failure, names,
        },
        given_a_pod, installation, object, pod, workspace,
    },
};

fn context(client: &Client, seen: Seen) -> Arc<Context> {
    let caches = seen.caches();
    let metrics = Metrics::register(&mut Registry::default());
    let (affected, _) = mpsc::channel(1);
    let keeper =
        Arc::new(Keeper::new(client.clone(), caches.clone(), "ws-system".into(), metrics.clone(), affected));
    Arc::new(Context {
        client: client.clone(),
        caches,
        keeper,
        installation: Arc::new(installation()),
        user_ca: UserCa::new(ca()).unwrap(),
        fresh: Fresh::default(),
        metrics,
        recorder: Recorder::new(
            client.clone(),
            Reporter { controller: "ws-operator".into(), instance: None },
        ),
    })
}

/// One reconcile; returns what was asked of the API server, and how it ended.
async fn one_reconcile(
    workspace: Workspace,
    seen: Seen,
    refuse: impl Fn(&str) -> Option<(StatusCode, Value)> + Send + 'static,
) -> (Vec<Asked>, Result<Action, Error>) {
    let (client, log) = apiserver(refuse);
    let ctx = context(&client, seen);
    drop(client);
    let ended = reconcile(Arc::new(DeserializeGuard(Ok(workspace))), ctx.clone()).await;
    drop(ctx);
    (log.await.unwrap(), ended)
}

/// A workspace that was created just now, so that its lifetime is not over.
fn fresh_workspace() -> Workspace {
    let mut workspace = workspace();
    workspace.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
    workspace
}

fn with_pod() -> Workspace {
    given_a_pod(fresh_workspace())
}

#[tokio::test]
async fn the_policy_is_applied_before_the_pod() {
    let (asked, ended) = one_reconcile(fresh_workspace(), Seen::default(), |_| None).await;
    assert_eq!(names(&asked), [POLICY, SECRET, MAKE_POD, STATUS]);
    assert_eq!(ended.unwrap(), Action::await_change());
    let status = &asked[3].1["status"];
    assert_eq!(status["phase"], "Starting");
    assert_eq!(status["podUid"], POD_UID);
    assert!(
        status["ssh"]["certificates"][0].as_str().unwrap().starts_with("ssh-ed25519-cert-v01@openssh.com ")
    );
}

#[tokio::test]
async fn a_policy_that_is_right_is_not_written_again() {
    let policies = vec![class_policy("team-a", &"default".parse().unwrap(), "ws-system")];
    let (asked, _) = one_reconcile(fresh_workspace(), Seen { policies, ..Seen::default() }, |_| None).await;
    assert_eq!(names(&asked), [SECRET, MAKE_POD, STATUS]);
}

#[tokio::test]
async fn without_its_policy_there_is_no_pod() {
    let refuse = |what: &str| (what == POLICY).then(|| failure(StatusCode::FORBIDDEN, "Forbidden", "no"));
    let (asked, _) = one_reconcile(fresh_workspace(), Seen::default(), refuse).await;
    assert_eq!(names(&asked), [POLICY, STATUS]);
    assert_eq!(asked[1].1["status"]["phase"], "Pending");
}

#[tokio::test]
async fn where_another_policy_lets_pods_out_there_is_no_pod() {
    let policies =
        vec![object("{metadata: {name: helpful, namespace: team-a}, spec: {podSelector: {}, egress: [{}]}}")];
    let (asked, _) = one_reconcile(fresh_workspace(), Seen { policies, ..Seen::default() }, |_| None).await;
    assert_eq!(names(&asked), [STATUS, EVENT]);
    assert_eq!(asked[0].1["status"]["conditions"][0]["reason"], "PolicyWidened");
    assert!(asked[0].1["status"]["message"].as_str().unwrap().contains("helpful"));
}

#[tokio::test]
async fn without_a_gateway_a_workspace_waits() {
    let seen = Seen { without_gateway: true, ..Seen::default() };
    let (asked, _) = one_reconcile(fresh_workspace(), seen, |_| None).await;
    assert_eq!(names(&asked), [STATUS]);
    assert_eq!(asked[0].1["status"]["conditions"][0]["reason"], "GatewayMissing");
}

#[tokio::test]
async fn what_cannot_be_made_is_said() {
    for (what, reason) in [(SECRET, "Secret"), (MAKE_POD, "Pod")] {
        let message = "Internal error occurred: failed calling webhook \"w\"";
        let refuse = move |asked: &str| {
            (asked == what).then(|| failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message))
        };
        let (asked, ended) = one_reconcile(fresh_workspace(), Seen::default(), refuse).await;
        assert_eq!(names(&asked)[names(&asked).len() - 2..], [what, STATUS]);
        let status = &asked.last().unwrap().1["status"];
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["conditions"][0]["reason"], "NotMade");
        let told = status["message"].as_str().unwrap();
        assert!(told.contains(reason) && told.contains(message), "{told}");
        assert!(matches!(ended, Err(Error::Write { .. })));
    }
}

#[tokio::test]
async fn one_that_is_first_seen_after_its_time_is_deleted() {
    let mut workspace = workspace();
    workspace.metadata.creation_timestamp = Some(crate::testing::at("2020-01-01T00:00:00Z"));
    let (asked, ended) = one_reconcile(workspace, Seen::default(), |_| None).await;
    assert_eq!(names(&asked), [END]);
    assert!(ended.is_ok());
}

#[tokio::test]
async fn an_operator_that_stops_before_it_has_seen_everything_does_nothing() {
    let (client, log) = apiserver(|_| None);
    let mut ctx = context(&client, Seen::default());
    let (_listing, listed) = watch::channel(0);
    let shutdown = CancellationToken::new();
    let caches = &mut Arc::get_mut(&mut ctx).unwrap().caches;
    (caches.listed, caches.shutdown) = (listed, shutdown.clone());
    drop(client);
    let stop = async {
        yield_now().await;
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(reconcile(Arc::new(DeserializeGuard(Ok(fresh_workspace()))), ctx), stop);
    assert!(matches!(ended, Err(Error::Stopped)));
    assert!(log.await.unwrap().is_empty());
}

#[tokio::test]
async fn what_an_operator_made_that_died_is_kept() {
    let refuse = |what: &str| match what {
        SECRET | MAKE_POD => Some(failure(StatusCode::CONFLICT, "AlreadyExists", "exists")),
        READ_POD => Some((StatusCode::OK, serde_json::to_value(pod("{}")).unwrap())),
        _ => None,
    };
    let (asked, _) = one_reconcile(fresh_workspace(), Seen::default(), refuse).await;
    assert_eq!(names(&asked), [POLICY, SECRET, MAKE_POD, READ_POD, STATUS]);
    assert_eq!(asked[4].1["status"]["podUid"], POD_UID);
}

#[tokio::test]
async fn a_pod_of_a_stranger_is_left_alone() {
    let mut stranger = pod("{}");
    stranger.metadata.owner_references = None;
    let stranger = serde_json::to_value(stranger).unwrap();
    let refuse = move |what: &str| match what {
        MAKE_POD => Some(failure(StatusCode::CONFLICT, "AlreadyExists", "exists")),
        READ_POD => Some((StatusCode::OK, stranger.clone())),
        _ => None,
    };
    let (asked, _) = one_reconcile(fresh_workspace(), Seen::default(), refuse).await;
    assert_eq!(names(&asked), [POLICY, SECRET, MAKE_POD, READ_POD, STATUS, EVENT]);
    assert_eq!(asked[4].1["status"]["conditions"][0]["reason"], "NameTaken");
}

#[tokio::test]
async fn a_class_is_asked_for_before_it_is_said_to_be_missing() {
    const CLASSES: &str = "GET /apis/ws.dev/v1alpha1/workspaceclasses";
    let mut workspace = fresh_workspace();
    workspace.spec.class_name = Some("new".into());
    let mut new = class();
    new.metadata.name = Some("new".into());
    let list = move |items: Vec<Value>| {
        move |what: &str| (what == CLASSES).then(|| (StatusCode::OK, json!({"metadata": {}, "items": items})))
    };
    let found = list(vec![serde_json::to_value(new).unwrap()]);
    let (asked, _) = one_reconcile(workspace.clone(), Seen::default(), found).await;
    assert_eq!(
        names(&asked)[..2],
        [CLASSES, "PATCH /apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/ws-class-new"]
    );
    let (asked, ended) = one_reconcile(workspace, Seen::default(), list(vec![])).await;
    assert_eq!(names(&asked), [CLASSES, STATUS, EVENT]);
    assert_eq!(asked[1].1["status"]["conditions"][0]["reason"], "ClassNotFound");
    assert!(ended.is_ok());
    let mut unmarked = class();
    unmarked.metadata.annotations = None;
    let mut workspace = fresh_workspace();
    workspace.spec.class_name = None;
    let seen = Seen { classes: vec![unmarked.clone()], ..Seen::default() };
    let (asked, _) = one_reconcile(workspace, seen, list(vec![json!(unmarked)])).await;
    assert_eq!(names(&asked), [CLASSES, STATUS, EVENT]);
    assert_eq!(asked[1].1["status"]["conditions"][0]["reason"], "NoDefaultClass");
}

#[tokio::test]
async fn a_pod_that_is_not_in_the_cache_is_looked_for() {
    let there =
        |what: &str| (what == READ_POD).then(|| (StatusCode::OK, serde_json::to_value(pod("{}")).unwrap()));
    let (asked, _) = one_reconcile(with_pod(), Seen::default(), there).await;
    assert_eq!(names(&asked), [READ_POD, STATUS]);
    assert_eq!(asked[1].1["status"]["phase"], "Starting");
    let gone = |what: &str| (what == READ_POD).then(|| failure(StatusCode::NOT_FOUND, "NotFound", "gone"));
    let (asked, _) = one_reconcile(with_pod(), Seen::default(), gone).await;
    assert_eq!(names(&asked), [READ_POD, STATUS, END_POD, EVENT]);
    let reasons = asked[1].1["status"]["conditions"].as_array().unwrap();
    assert!(reasons.iter().all(|condition| condition["reason"] == "PodLost"), "{reasons:?}");
}

#[tokio::test]
async fn a_failed_pod_goes_even_if_the_status_cannot_be_written() {
    let pods = vec![pod("{phase: Failed}")];
    let refuse = |what: &str| (what == STATUS).then(|| failure(StatusCode::FORBIDDEN, "Forbidden", "no"));
    let (asked, ended) = one_reconcile(with_pod(), Seen { pods, ..Seen::default() }, refuse).await;
    assert_eq!(names(&asked), [STATUS, END_POD]);
    assert_eq!(asked[1].1["preconditions"]["uid"], POD_UID);
    assert!(matches!(ended, Err(Error::Status(_))));
}

#[tokio::test]
async fn a_failure_is_told_even_if_the_pod_cannot_be_deleted() {
    let pods = vec![pod("{phase: Failed}")];
    let refuse = |what: &str| (what == END_POD).then(|| failure(StatusCode::FORBIDDEN, "Forbidden", "no"));
    let (asked, ended) = one_reconcile(with_pod(), Seen { pods, ..Seen::default() }, refuse).await;
    assert_eq!(names(&asked), [STATUS, END_POD, EVENT]);
    assert!(matches!(ended, Err(Error::Delete { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_failed_pod_goes_within_a_second_even_if_the_status_is_not_answered() {
    let (client, log) = apiserver(|what| (what == STATUS).then_some((SILENCE, Value::Null)));
    let ctx = context(&client, Seen { pods: vec![pod("{phase: Failed}")], ..Seen::default() });
    drop(client);
    let reconcile = reconcile(Arc::new(DeserializeGuard(Ok(with_pod()))), ctx);
    assert!(timeout(Duration::from_secs(1), reconcile).await.is_err());
    assert_eq!(names(&log.await.unwrap()), [STATUS, END_POD]);
}

#[tokio::test]
async fn an_expired_workspace_is_deleted_after_all_that_it_owns() {
    let mut workspace = with_pod();
    workspace.status.as_mut().unwrap().expires_at = Some(crate::testing::at("2026-11-20T00:00:00Z"));
    let (asked, _) = one_reconcile(workspace, Seen::default(), |_| None).await;
    assert_eq!(names(&asked), [END]);
    assert_eq!(asked[0].1["propagationPolicy"], "Foreground");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_told_so() {
    let (client, log) = apiserver(|_| None);
    let ctx = context(&client, Seen::default());
    drop(client);
    let invalid = InvalidObject { error: "missing field `x`".into(), metadata: workspace().metadata };
    reconcile(Arc::new(DeserializeGuard(Err(invalid))), ctx.clone()).await.unwrap();
    drop(ctx);
    let asked = log.await.unwrap();
    assert_eq!(names(&asked), [STATUS]);
    assert_eq!(asked[0].1["status"]["conditions"][0]["reason"], "Unreadable");
}
