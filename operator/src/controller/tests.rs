use std::{pin::pin, time::Duration};

use futures::FutureExt as _;
use kube::runtime::reflector::ObjectRef;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::*;
use crate::testing::{
    ca,
    cluster::{SILENCE, Seen as Cluster, apiserver},
    given_a_pod, installation, pod, workspace,
};

#[tokio::test(start_paused = true)]
async fn an_operator_that_has_seen_nothing_is_not_ready_and_stops_at_once() {
    let (client, _log) = apiserver(|_| Some((SILENCE, Value::Null)));
    let readiness = Readiness::default();
    let parts = Parts {
        client,
        installation: installation(),
        user_ca: UserCa::new(ca()).unwrap(),
        metrics: Metrics::register(&mut Registry::default()),
        readiness: readiness.clone(),
        identity: "one".into(),
    };
    let shutdown = CancellationToken::new();
    let stop = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(readiness.blockers(), ["the watches"]);
        shutdown.cancel();
    };
    let run = timeout(Duration::from_secs(2), run(parts, shutdown.clone()));
    assert!(tokio::join!(run, stop).0.is_ok());
}

#[tokio::test]
async fn a_pod_that_is_deleted_between_two_watches_is_missed() {
    use watcher::Event::{Init, InitApply, InitDone};
    let (client, _log) = apiserver(|_| None);
    let workspace = given_a_pod(workspace());
    let mut caches = Cluster { workspaces: vec![workspace.clone()], ..Cluster::default() }.caches();
    let writer = Writer::default();
    caches.pods = writer.as_reader();
    let metrics = Metrics::register(&mut Registry::default());
    let (affected, _breached) = mpsc::channel(1);
    let keeper = Arc::new(Keeper::new(client, caches.clone(), "ws-system".into(), metrics, affected));
    let relisted = Arc::new(Notify::new());

    let (seen, _listed) = watch::channel(0);
    let pod = pod("{phase: Running}");
    let events = [Init, InitApply(pod), InitDone, Init, InitDone].map(Ok);
    let mut pods = pin!(pods_watch(stream::iter(events), writer, &seen, &keeper, &relisted));
    let mut bereft = pin!(bereft(relisted, caches));
    for _ in 0..3 {
        pods.next().await;
    }
    assert_eq!(bereft.next().now_or_never(), None, "its pod is in the first list");
    assert_eq!(pods.count().await, 2);
    let missed = ObjectRef::from_obj(&DeserializeGuard(Ok(workspace)));
    assert_eq!(bereft.next().now_or_never().flatten(), Some(missed), "its pod is not in the second");
}
