//! Conversations with an API server that is not there: what is asked, in which order, and what follows from its answers.

use std::pin::pin;

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Service;
use kube::{
    client::Body,
    runtime::{
        events::Reporter,
        reflector::{self, store::Writer},
        watcher,
    },
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::*;
use crate::{
    build::network::class_policy,
    testing::{POD_UID, ca, class, installation, object, pod, workspace},
};

const POLICY: &str = "PATCH /apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/ws-class-default";
const SECRET: &str = "POST /api/v1/namespaces/team-a/secrets";
const MAKE_POD: &str = "POST /api/v1/namespaces/team-a/pods";
const READ_POD: &str = "GET /api/v1/namespaces/team-a/pods/fix-tests";
const END_POD: &str = "DELETE /api/v1/namespaces/team-a/pods/fix-tests";
const STATUS: &str = "PATCH /apis/ws.dev/v1alpha1/namespaces/team-a/workspaces/fix-tests/status";
const END: &str = "DELETE /apis/ws.dev/v1alpha1/namespaces/team-a/workspaces/fix-tests";
const EVENT: &str = "POST /apis/events.k8s.io/v1/namespaces/team-a/events";

/// A request as `METHOD path`, and its body.
type Asked = (String, Value);

/// An API server that stores nothing: it answers with what it was sent, unless `refuse` has another answer.
fn apiserver(
    refuse: impl Fn(&str) -> Option<(StatusCode, Value)> + Send + 'static,
) -> (Client, JoinHandle<Vec<Asked>>) {
    let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let log = tokio::spawn(async move {
        let mut handle = pin!(handle);
        let mut asked = vec![];
        while let Some((request, answer)) = handle.next_request().await {
            let what = format!("{} {}", request.method(), request.uri().path());
            let is_delete = request.method() == Method::DELETE;
            let body = request.into_body().collect_bytes().await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (code, content) =
                refuse(&what).unwrap_or_else(|| (StatusCode::OK, stored(&what, &body, is_delete)));
            let mut response = Response::new(Body::from(serde_json::to_vec(&content).unwrap()));
            *response.status_mut() = code;
            answer.send_response(response);
            asked.push((what, body));
        }
        asked
    });
    (Client::new(service, "default"), log)
}

fn stored(what: &str, body: &Value, is_delete: bool) -> Value {
    if is_delete {
        return json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    }
    let mut stored = body.clone();
    if what == MAKE_POD {
        stored["metadata"]["uid"] = json!(POD_UID);
    }
    if what == STATUS {
        stored["metadata"] = json!({"name": "fix-tests", "namespace": "team-a", "uid": body["metadata"]["uid"], "resourceVersion": "8"});
        stored["spec"] = json!({"sshPublicKeys": []});
    }
    stored
}

fn failure(code: StatusCode, reason: &str, message: &str) -> (StatusCode, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": code.as_u16()});
    (code, body)
}

/// What the caches show.
#[derive(Default)]
struct Seen {
    pods: Vec<Pod>,
    policies: Vec<k8s_openapi::api::networking::v1::NetworkPolicy>,
    without_gateway: bool,
}

fn filled<K>(objects: Vec<K>) -> reflector::Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    let mut writer = Writer::<K>::default();
    writer.apply_watcher_event(&watcher::Event::Init);
    for object in objects {
        writer.apply_watcher_event(&watcher::Event::InitApply(object));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
    writer.as_reader()
}

fn context(client: &Client, seen: Seen) -> Arc<Context> {
    let gateway: Service =
        object("{metadata: {name: ws-gateway, namespace: ws-system}, spec: {clusterIP: 10.96.0.7}}");
    let caches = Caches {
        workspaces: filled(vec![DeserializeGuard(Ok(workspace()))]),
        classes: filled(vec![DeserializeGuard(Ok(class()))]),
        pods: filled(seen.pods),
        policies: filled(seen.policies),
        gateway: filled(if seen.without_gateway { vec![] } else { vec![gateway] }),
        cluster_dns: filled(vec![]),
        nodes: filled(vec![]),
        runtime_classes: filled(vec![]),
        listed: watch::channel(crate::caches::STORES).1,
    };
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

fn names(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|(what, _)| what.as_str()).collect()
}

/// A workspace that was created just now, so that its lifetime is not over.
fn fresh_workspace() -> Workspace {
    let mut workspace = workspace();
    workspace.metadata.creation_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
    workspace
}

fn with_pod() -> Workspace {
    let mut workspace = fresh_workspace();
    let status = workspace.status.get_or_insert_default();
    status.phase = Some(Phase::Starting);
    status.class_name = Some("default".into());
    status.pod_uid = Some(POD_UID.into());
    workspace
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
