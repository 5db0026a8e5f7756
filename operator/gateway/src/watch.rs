//! Keeps the index of sessions equal to the pods of the cluster: one watch, and no polling.

use std::pin::pin;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use ws_api::CLASS_LABEL;
use ws_runtime::admin::BlockReady;

use crate::{
    metrics::Metrics,
    sessions::{Observed, Sessions},
};

/// Watches the pods of all workspaces until `shutdown`. `unready` is dropped when all of them are in the index.
pub async fn run(
    client: Client,
    sessions: watch::Sender<Sessions>,
    metrics: Metrics,
    unready: BlockReady,
    shutdown: CancellationToken,
) {
    let config = watcher::Config::default().labels(CLASS_LABEL);
    let mut events = pin!(watcher(Api::<Pod>::all(client), config).default_backoff());
    let mut feed = Feed::default();
    let mut unready = Some(unready);
    while let Some(event) = shutdown.run_until_cancelled(events.next()).await.flatten() {
        match event {
            Ok(event) => {
                let is_complete = matches!(event, Event::InitDone);
                sessions.send_if_modified(|sessions| feed.take(sessions, event));
                let known = sessions.borrow().len();
                metrics.sessions.set(i64::try_from(known).unwrap_or(i64::MAX));
                if is_complete && unready.take().is_some() {
                    info!(sessions = known, "knows the pods of all workspaces");
                }
            }
            Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot watch pods"),
        }
    }
}

/// Turns events into changes of the index.
#[derive(Debug, Default)]
struct Feed {
    /// What a list that is not complete yet has brought; until then the index stays as it was.
    listed: Vec<Observed>,
}

impl Feed {
    /// Whether the index was changed.
    fn take(&mut self, sessions: &mut Sessions, event: Event<Pod>) -> bool {
        match event {
            Event::Init => {
                self.listed.clear();
                false
            }
            Event::InitApply(pod) => {
                self.listed.extend(Observed::of(&pod));
                false
            }
            Event::InitDone => {
                sessions.replace(std::mem::take(&mut self.listed));
                true
            }
            Event::Apply(pod) => {
                match Observed::of(&pod) {
                    Some(observed) => sessions.insert(observed),
                    None => forget(sessions, &pod),
                }
                true
            }
            Event::Delete(pod) => {
                forget(sessions, &pod);
                true
            }
        }
    }
}

fn forget(sessions: &mut Sessions, pod: &Pod) {
    if let Some(uid) = pod.uid() {
        sessions.remove(&uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, phase: &str, address: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "team-a", "name": uid, "uid": uid, "creationTimestamp": "2026-11-21T08:00:00Z",
                "labels": {"ws.dev/class": "default"},
                "ownerReferences": [{"apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "name": uid, "uid": uid, "controller": true}],
            },
            "spec": {"containers": []},
            "status": {"phase": phase, "podIPs": [{"ip": address}]},
        }))
        .unwrap()
    }

    fn found(sessions: &Sessions, address: &str) -> Option<String> {
        Some(sessions.at(address.parse().unwrap())?.identity().pod_uid.clone())
    }

    #[test]
    fn a_list_counts_only_when_it_is_complete() {
        let (mut feed, mut sessions) = (Feed::default(), Sessions::default());
        assert!(feed.take(&mut sessions, Event::Apply(pod("a", "Running", "10.0.0.1"))));
        for event in [Event::Init, Event::InitApply(pod("lost", "Running", "10.0.0.9")), Event::Init] {
            assert!(!feed.take(&mut sessions, event));
        }
        assert!(!feed.take(&mut sessions, Event::InitApply(pod("b", "Running", "10.0.0.2"))));
        assert_eq!(found(&sessions, "10.0.0.1").as_deref(), Some("a"));
        assert!(feed.take(&mut sessions, Event::InitDone));
        assert_eq!((found(&sessions, "10.0.0.1"), found(&sessions, "10.0.0.9")), (None, None));
        assert_eq!(found(&sessions, "10.0.0.2").as_deref(), Some("b"));
    }

    #[test]
    fn a_pod_that_ended_or_was_deleted_is_forgotten() {
        for end in
            [Event::Apply(pod("a", "Failed", "10.0.0.1")), Event::Delete(pod("a", "Running", "10.0.0.1"))]
        {
            let (mut feed, mut sessions) = (Feed::default(), Sessions::default());
            feed.take(&mut sessions, Event::Apply(pod("a", "Running", "10.0.0.1")));
            assert!(feed.take(&mut sessions, end));
            assert!(sessions.is_empty());
        }
    }
}
