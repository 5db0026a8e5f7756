//! Keeps what the gateway knows equal to the objects of the cluster: a watch for each kind, and no polling.

use std::{fmt::Debug, pin::pin};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use ws_runtime::admin::BlockReady;

use crate::{
    metrics::{Kind, Known, Metrics},
    policies::{ObservedClass, ObservedWorkspace, Policies},
    sessions::{Observed, Sessions},
};

/// How the objects of one kind become entries of an index.
pub trait Mirror {
    type Object: Clone + Debug + DeserializeOwned + Send + 'static;
    type Index;
    type Entry;

    const KIND: Kind;

    /// What is kept of an object; none if it has no place in the index.
    fn entry(object: &Self::Object) -> Option<Self::Entry>;
    /// Whether it is news: whoever waits for changes of the index looks at what is under way.
    fn insert(index: &mut Self::Index, entry: Self::Entry) -> bool;
    /// Whether it is news.
    fn remove(index: &mut Self::Index, object: &Self::Object) -> bool;
    /// Makes these all the entries there are.
    fn replace(index: &mut Self::Index, entries: Vec<Self::Entry>);
    fn len(index: &Self::Index) -> usize;
}

/// The pods of workspaces.
#[derive(Debug)]
pub struct Pods;

impl Mirror for Pods {
    type Object = Pod;
    type Index = Sessions;
    type Entry = Observed;

    const KIND: Kind = Kind::Pods;

    fn entry(pod: &Pod) -> Option<Observed> {
        Observed::of(pod)
    }

    fn insert(sessions: &mut Sessions, observed: Observed) -> bool {
        sessions.insert(observed);
        true
    }

    fn remove(sessions: &mut Sessions, pod: &Pod) -> bool {
        pod.uid().inspect(|uid| sessions.remove(uid)).is_some()
    }

    fn replace(sessions: &mut Sessions, all: Vec<Observed>) {
        sessions.replace(all);
    }

    fn len(sessions: &Sessions) -> usize {
        sessions.len()
    }
}

/// Workspaces, and what they picked of their class. One that cannot be read must not hide the others, so each is read by itself.
#[derive(Debug)]
pub struct Workspaces;

impl Mirror for Workspaces {
    type Object = DynamicObject;
    type Index = Policies;
    type Entry = ObservedWorkspace;

    const KIND: Kind = Kind::Workspaces;

    fn entry(workspace: &DynamicObject) -> Option<ObservedWorkspace> {
        ObservedWorkspace::of(workspace)
    }

    fn insert(policies: &mut Policies, workspace: ObservedWorkspace) -> bool {
        policies.insert_workspace(workspace)
    }

    fn remove(policies: &mut Policies, workspace: &DynamicObject) -> bool {
        workspace.uid().is_some_and(|uid| policies.remove_workspace(&uid))
    }

    fn replace(policies: &mut Policies, all: Vec<ObservedWorkspace>) {
        policies.replace_workspaces(all);
    }

    fn len(policies: &Policies) -> usize {
        policies.workspaces()
    }
}

/// Classes. One that cannot be read is kept as what it is: invalid.
#[derive(Debug)]
pub struct Classes;

impl Mirror for Classes {
    type Object = DynamicObject;
    type Index = Policies;
    type Entry = ObservedClass;

    const KIND: Kind = Kind::Classes;

    fn entry(class: &DynamicObject) -> Option<ObservedClass> {
        Some(ObservedClass::of(class))
    }

    fn insert(policies: &mut Policies, class: ObservedClass) -> bool {
        policies.insert_class(class)
    }

    fn remove(policies: &mut Policies, class: &DynamicObject) -> bool {
        policies.remove_class(&class.name_any())
    }

    fn replace(policies: &mut Policies, all: Vec<ObservedClass>) {
        policies.replace_classes(all);
    }

    fn len(policies: &Policies) -> usize {
        policies.classes()
    }
}

/// Watches the objects of a kind until `shutdown`. `unready` is dropped when all of them are in the index.
pub async fn run<M: Mirror>(
    api: Api<M::Object>,
    config: watcher::Config,
    index: watch::Sender<M::Index>,
    metrics: Metrics,
    unready: BlockReady,
    shutdown: CancellationToken,
) where
    M::Object: kube::Resource<DynamicType: Clone + Debug + Send>,
{
    let mut events = pin!(watcher(api, config).default_backoff());
    let mut feed = Feed::<M>::default();
    let mut unready = Some(unready);
    while let Some(event) = shutdown.run_until_cancelled(events.next()).await.flatten() {
        match event {
            Ok(event) => {
                let is_complete = matches!(event, Event::InitDone);
                index.send_if_modified(|index| feed.take(index, event));
                let known = M::len(&index.borrow());
                let gauge = metrics.known.get_or_create(&Known { kind: M::KIND });
                gauge.set(i64::try_from(known).unwrap_or(i64::MAX));
                if is_complete && unready.take().is_some() {
                    info!(known, "knows all {}", M::KIND);
                }
            }
            Err(error) => warn!(error = &error as &dyn std::error::Error, "cannot watch {}", M::KIND),
        }
    }
}

/// Turns events into changes of an index.
struct Feed<M: Mirror> {
    /// What a list that is not complete yet has brought; until then the index stays as it was.
    listed: Vec<M::Entry>,
}

impl<M: Mirror> Default for Feed<M> {
    fn default() -> Self {
        Self { listed: Vec::new() }
    }
}

impl<M: Mirror> Feed<M> {
    /// Whether that is news.
    fn take(&mut self, index: &mut M::Index, event: Event<M::Object>) -> bool {
        match event {
            Event::Init => {
                self.listed.clear();
                false
            }
            Event::InitApply(object) => {
                self.listed.extend(M::entry(&object));
                false
            }
            Event::InitDone => {
                M::replace(index, std::mem::take(&mut self.listed));
                true
            }
            Event::Apply(object) => match M::entry(&object) {
                Some(entry) => M::insert(index, entry),
                None => M::remove(index, &object),
            },
            Event::Delete(object) => M::remove(index, &object),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::host_key;

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
        let (mut feed, mut sessions) = (Feed::<Pods>::default(), Sessions::default());
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

    fn object(value: serde_json::Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_a_workspace_says_of_its_policy_is_news() {
        let (mut feed, mut policies) = (Feed::<Workspaces>::default(), Policies::default());
        let workspace = |spec: serde_json::Value, status: serde_json::Value| {
            let mut spec = spec;
            spec["sshPublicKeys"] = json!([]);
            object(json!({
                "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": "w", "namespace": "team-a", "uid": "w"}, "spec": spec, "status": status,
            }))
        };
        let key = host_key().public_key().to_openssh().unwrap();
        let ssh = json!({"hostKey": key, "certificates": []});
        let counted = |denied| json!({"allowed": 0, "denied": denied, "uploadedBytes": 0});
        for (is_news, spec, status) in [
            (false, json!({}), json!({})),
            (true, json!({}), json!({"className": "c"})),
            (false, json!({}), json!({"className": "c", "phase": "Starting"})),
            (true, json!({}), json!({"className": "c", "ssh": ssh})),
            (false, json!({}), json!({"className": "c", "ssh": ssh, "egress": counted(1)})),
            (false, json!({}), json!({"className": "c", "ssh": ssh, "egress": counted(2)})),
            (true, json!({"egress": []}), json!({"className": "c", "ssh": ssh})),
            (true, json!({"egress": []}), json!({"className": "d", "ssh": ssh})),
            (true, json!({"egress": []}), json!({})),
            (false, json!({"egress": []}), json!({})),
        ] {
            let event = Event::Apply(workspace(spec.clone(), status.clone()));
            assert_eq!(feed.take(&mut policies, event), is_news, "{spec} {status}");
        }
        assert!(!feed.take(&mut policies, Event::Delete(workspace(json!({}), json!({})))), "it is gone");
    }

    #[test]
    fn only_what_a_class_says_is_news() {
        let (mut feed, mut policies) = (Feed::<Classes>::default(), Policies::default());
        let class = |labels: serde_json::Value, image: &str| {
            object(json!({
                "apiVersion": "ws.dev/v1alpha1", "kind": "WorkspaceClass",
                "metadata": {"name": "c", "labels": labels}, "spec": {"image": image},
            }))
        };
        for (is_news, labels, image) in [
            (true, json!({}), "localhost/ws:1"),
            (false, json!({}), "localhost/ws:1"),
            (false, json!({"team": "a"}), "localhost/ws:1"),
            (true, json!({}), "localhost/ws:2"),
        ] {
            let event = Event::Apply(class(labels.clone(), image));
            assert_eq!(feed.take(&mut policies, event), is_news, "{labels} {image}");
        }
        let gone = || Event::Delete(class(json!({}), "localhost/ws:2"));
        assert!(feed.take(&mut policies, gone()));
        assert!(!feed.take(&mut policies, gone()));
    }

    #[test]
    fn a_pod_that_ended_or_was_deleted_is_forgotten() {
        for end in
            [Event::Apply(pod("a", "Failed", "10.0.0.1")), Event::Delete(pod("a", "Running", "10.0.0.1"))]
        {
            let (mut feed, mut sessions) = (Feed::<Pods>::default(), Sessions::default());
            feed.take(&mut sessions, Event::Apply(pod("a", "Running", "10.0.0.1")));
            assert!(feed.take(&mut sessions, end));
            assert!(sessions.is_empty());
        }
    }
}
