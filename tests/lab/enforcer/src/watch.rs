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
    loop {
        let events = watcher(api.clone(), config.clone());
        let mut events = pin!(events.modify(|object| object.managed_fields_mut().clear()));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    writer.apply_watcher_event(&event);
                    if matches!(event, Event::InitDone) {
                        live.store(true, Ordering::Release);
                    }
                    changed.notify_one();
                }
                Err(error) => {
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
