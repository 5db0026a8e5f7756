//! A cluster that is not there: an API server to converse with, and what the caches show of it.

use std::pin::pin;

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::NetworkPolicy,
};
use kube::{
    Client,
    client::Body,
    core::DeserializeGuard,
    runtime::{
        reflector::{self, store::Writer},
        watcher,
    },
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use ws_api::{class::WorkspaceClass, workspace::Workspace};

use super::{POD_UID, class, object, workspace};
use crate::caches::{Caches, STORES};

pub(crate) const POLICY: &str =
    "PATCH /apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/ws-class-default";
pub(crate) const SECRET: &str = "POST /api/v1/namespaces/team-a/secrets";
pub(crate) const MAKE_POD: &str = "POST /api/v1/namespaces/team-a/pods";
pub(crate) const READ_POD: &str = "GET /api/v1/namespaces/team-a/pods/fix-tests";
pub(crate) const END_POD: &str = "DELETE /api/v1/namespaces/team-a/pods/fix-tests";
pub(crate) const STATUS: &str = "PATCH /apis/ws.dev/v1alpha1/namespaces/team-a/workspaces/fix-tests/status";
pub(crate) const END: &str = "DELETE /apis/ws.dev/v1alpha1/namespaces/team-a/workspaces/fix-tests";
pub(crate) const EVENT: &str = "POST /apis/events.k8s.io/v1/namespaces/team-a/events";

/// A request as `METHOD path`, and its body.
pub(crate) type Asked = (String, Value);

/// The code of an answer that never comes.
pub(crate) const SILENCE: StatusCode = StatusCode::REQUEST_TIMEOUT;

/// An API server that stores nothing: it answers with what it was sent, unless `refuse` has another answer.
pub(crate) fn apiserver(
    refuse: impl Fn(&str) -> Option<(StatusCode, Value)> + Send + 'static,
) -> (Client, JoinHandle<Vec<Asked>>) {
    let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let log = tokio::spawn(async move {
        let mut handle = pin!(handle);
        let (mut asked, mut unanswered) = (vec![], vec![]);
        while let Some((request, answer)) = handle.next_request().await {
            let what = format!("{} {}", request.method(), request.uri().path());
            let is_delete = request.method() == Method::DELETE;
            let body = request.into_body().collect_bytes().await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (code, content) =
                refuse(&what).unwrap_or_else(|| (StatusCode::OK, stored(&what, &body, is_delete)));
            asked.push((what, body));
            if code == SILENCE {
                unanswered.push(answer);
                continue;
            }
            let mut response = Response::new(Body::from(serde_json::to_vec(&content).unwrap()));
            *response.status_mut() = code;
            answer.send_response(response);
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

/// The answer of an API server that refuses.
pub(crate) fn failure(code: StatusCode, reason: &str, message: &str) -> (StatusCode, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": code.as_u16()});
    (code, body)
}

/// What the caches show.
pub(crate) struct Seen {
    pub(crate) workspaces: Vec<Workspace>,
    pub(crate) classes: Vec<WorkspaceClass>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) policies: Vec<NetworkPolicy>,
    pub(crate) without_gateway: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            workspaces: vec![workspace()],
            classes: vec![class()],
            pods: vec![],
            policies: vec![],
            without_gateway: false,
        }
    }
}

impl Seen {
    pub(crate) fn caches(self) -> Caches {
        let gateway: Service =
            object("{metadata: {name: ws-gateway, namespace: ws-system}, spec: {clusterIP: 10.96.0.7}}");
        Caches {
            workspaces: filled(guarded(self.workspaces)),
            classes: filled(guarded(self.classes)),
            pods: filled(self.pods),
            policies: filled(self.policies),
            gateway: filled(if self.without_gateway { vec![] } else { vec![gateway] }),
            cluster_dns: filled(vec![]),
            nodes: filled(vec![]),
            runtime_classes: filled(vec![]),
            listed: watch::channel(STORES).1,
            shutdown: CancellationToken::new(),
        }
    }
}

fn guarded<K>(objects: Vec<K>) -> Vec<DeserializeGuard<K>> {
    objects.into_iter().map(|object| DeserializeGuard(Ok(object))).collect()
}

/// A store of these objects.
pub(crate) fn filled<K>(objects: Vec<K>) -> reflector::Store<K>
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

/// What was asked, without the bodies.
pub(crate) fn names(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|(what, _)| what.as_str()).collect()
}
