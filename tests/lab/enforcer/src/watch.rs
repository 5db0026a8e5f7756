//! A copy of all objects of one kind, and whether it can be trusted to be complete.

use std::{
    fmt::Debug,
    hash::Hash,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tracing::warn;

const RETRY: Duration = Duration::from_millis(200);

/// A watch that has been silent for so long is opened anew, so a connection that died unnoticed is found. Seconds.
const IDLE: u32 = 30;

/// The objects of one kind, kept by a task.
pub(crate) struct Watch<K: Resource<DynamicType: Eq + Hash + Clone> + 'static> {
    objects: Store<K>,
    live: Arc<AtomicBool>,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType: Default + Eq + Hash + Clone>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    /// Starts to follow the objects of `api` that `config` selects, and to tell `changed` of every change.
    pub(crate) fn start(
        tasks: &mut JoinSet<()>,
        api: Api<K>,
        config: watcher::Config,
        changed: Arc<Notify>,
    ) -> Self {
        let (objects, writer) = reflector::store();
        let live = Arc::new(AtomicBool::new(false));
        tasks.spawn(follow(api, config.timeout(IDLE), writer, Arc::clone(&live), changed));
        Self { objects, live }
    }

    /// Whether a complete list has been followed without a gap until now.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// The objects as last seen.
    pub(crate) fn objects(&self) -> Vec<Arc<K>> {
        self.objects.state()
    }
}

/// After an error the watch begins again with a list: only that shows that nothing was missed, and `watcher` does
/// not tell when a resumed watch works again.
async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    mut writer: Writer<K>,
    live: Arc<AtomicBool>,
    changed: Arc<Notify>,
) where
    K: Resource<DynamicType: Default + Eq + Hash + Clone> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut told = false;
    loop {
        let events = watcher(api.clone(), config.clone());
        let mut events = pin!(events.modify(|object| object.managed_fields_mut().clear()));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    writer.apply_watcher_event(&event);
                    if matches!(event, Event::InitDone) {
                        live.store(true, Ordering::Release);
                        told = false;
                    }
                    changed.notify_one();
                }
                // Said once, not five times a second for as long as it lasts.
                Err(_) if told => break,
                Err(error) => {
                    told = true;
                    warn!(kind = %K::kind(&K::DynamicType::default()), "watch is broken: {error}");
                    break;
                }
            }
        }
        live.store(false, Ordering::Release);
        changed.notify_one();
        sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use kube::{Client, client::Body};
    use serde_json::json;
    use tokio::time::timeout;
    use tower_test::mock::{self, Handle};

    use super::*;

    type ApiServer = Handle<Request<Body>, Response<Body>>;

    const LIST: &str = r#"{"kind": "NetworkPolicyList", "apiVersion": "networking.k8s.io/v1",
        "metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"namespace": "ns", "name": "p"}}]}"#;

    /// Answers the next request, which must be a watch or a list.
    async fn answer(api_server: &mut ApiServer, watch: bool, body: String) {
        let (request, response) = api_server.next_request().await.unwrap();
        assert_eq!(
            request.uri().query().unwrap_or_default().contains("watch=true"),
            watch,
            "{}",
            request.uri()
        );
        response.send_response(Response::new(Body::from(body.into_bytes())));
    }

    async fn until_live(watch: &Watch<NetworkPolicy>, changed: &Notify, live: bool) {
        let reached = async {
            while watch.is_live() != live {
                changed.notified().await;
            }
        };
        timeout(Duration::from_secs(5), reached).await.unwrap();
    }

    #[tokio::test]
    async fn after_an_error_only_a_new_list_makes_a_watch_live() {
        let (service, mut api_server) = mock::pair();
        let api: Api<NetworkPolicy> = Api::all(Client::new(service, "default"));
        let (mut tasks, changed) = (JoinSet::new(), Arc::new(Notify::new()));
        let watch = Watch::start(&mut tasks, api, watcher::Config::default(), Arc::clone(&changed));
        assert!(!watch.is_live());

        answer(&mut api_server, false, LIST.to_owned()).await;
        until_live(&watch, &changed, true).await;
        assert_eq!(watch.objects().len(), 1);

        let error = json!({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd", "reason": ""}});
        answer(&mut api_server, true, format!("{error}\n")).await;
        until_live(&watch, &changed, false).await;
        assert_eq!(watch.objects().len(), 1, "what is known stays");

        answer(&mut api_server, false, LIST.to_owned()).await;
        until_live(&watch, &changed, true).await;
    }
}
