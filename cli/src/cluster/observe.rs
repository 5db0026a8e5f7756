//! Watching one workspace, from when it was read until it is gone. Never polls.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
    core::Status,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use ws_api::workspace::Workspace;

use super::{Access, Cluster, explain::is_absent_object};
use crate::error::Error;

/// The server ends a watch after this many seconds and it is taken up again: some proxies end silent streams at 300.
const WATCH_SECONDS: u32 = 290;
/// A watch that has not ended by then has no server any more, as after a laptop has slept.
const LONGEST_WATCH: Duration = Duration::from_mins(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The latest of a workspace.
#[derive(Clone, Debug)]
pub struct Sight {
    pub workspace: Workspace,
    /// Whether the workspace is no more; `workspace` is the last that was seen of it.
    pub gone: bool,
    /// Why nothing new can be seen any more.
    pub blind: Option<Error>,
}

/// A workspace under watch. The watch ends with this value.
pub struct Observed {
    sight: watch::Receiver<Sight>,
    task: JoinHandle<()>,
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Watches a workspace from the version that was read.
    pub fn observe(&self, workspace: Workspace) -> Observed {
        let (sender, sight) = watch::channel(Sight { workspace, gone: false, blind: None });
        let watcher = Watcher { cluster: self.clone(), api: self.workspaces(), sender };
        Observed { sight, task: tokio::spawn(watcher.run()) }
    }
}

impl Observed {
    /// What is known now.
    pub fn latest(&self) -> Sight {
        self.sight.borrow().clone()
    }

    /// A second view of the same watch.
    pub fn subscribe(&self) -> watch::Receiver<Sight> {
        self.sight.clone()
    }

    /// Waits until the workspace is gone, or until nothing can be seen any more.
    pub async fn gone(&mut self) -> Sight {
        // An error means that the watch has ended, after which the last sight stands.
        drop(self.sight.wait_for(|sight| sight.gone || sight.blind.is_some()).await);
        self.latest()
    }
}

struct Watcher {
    cluster: Cluster,
    api: Api<Workspace>,
    sender: watch::Sender<Sight>,
}

/// Why a watch ended.
enum End {
    /// Take it up again where it was.
    Interrupted,
    /// The server no longer has that version: read anew.
    Expired,
    /// The workspace is gone.
    Gone,
    Refused(Box<kube::Error>),
}

impl Watcher {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.version();
            match self.follow(&before).await {
                End::Gone => return,
                End::Refused(error) => {
                    let error = self.cluster.explain(&self.access("watch"), *error);
                    self.sender.send_modify(|sight| sight.blind = Some(error));
                    return;
                }
                End::Expired => {
                    if self.read_again().await {
                        return;
                    }
                }
                End::Interrupted => {}
            }
            pause = if self.version() == before { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
            sleep(pause).await;
        }
    }

    async fn follow(&self, version: &str) -> End {
        let params = WatchParams::default()
            .fields(&format!("metadata.name={}", self.metadata().name.unwrap_or_default()))
            .timeout(WATCH_SECONDS);
        match self.cluster.bounded(self.api.watch(&params, version)).await {
            Ok(Ok(events)) => {
                timeout(LONGEST_WATCH, self.take(Box::pin(events))).await.unwrap_or(End::Interrupted)
            }
            Ok(Err(kube::Error::Api(status))) => refusal(status),
            Ok(Err(_)) | Err(_) => End::Interrupted,
        }
    }

    async fn take(
        &self,
        mut events: impl Stream<Item = Result<WatchEvent<Workspace>, kube::Error>> + Unpin,
    ) -> End {
        while let Some(event) = events.next().await {
            match event {
                Ok(WatchEvent::Added(workspace) | WatchEvent::Modified(workspace)) => {
                    if self.is_other(&workspace) {
                        return self.lost();
                    }
                    self.sender.send_modify(|sight| sight.workspace = workspace);
                }
                Ok(WatchEvent::Deleted(workspace)) => {
                    if !self.is_other(&workspace) {
                        self.sender.send_modify(|sight| sight.workspace = workspace);
                    }
                    return self.lost();
                }
                Ok(WatchEvent::Bookmark(_)) => {}
                Ok(WatchEvent::Error(status)) if status.code == 410 => return End::Expired,
                Ok(WatchEvent::Error(_)) | Err(_) => return End::Interrupted,
            }
        }
        End::Interrupted
    }

    /// Reads the workspace outside a watch; whether there is nothing more to see.
    async fn read_again(&self) -> bool {
        let name = self.metadata().name.unwrap_or_default();
        match self.cluster.bounded(self.api.get(&name)).await {
            Ok(Ok(workspace)) if !self.is_other(&workspace) => {
                self.sender.send_modify(|sight| sight.workspace = workspace);
                false
            }
            Ok(Ok(_)) => matches!(self.lost(), End::Gone),
            Ok(Err(kube::Error::Api(status))) if is_absent_object(&status) => {
                matches!(self.lost(), End::Gone)
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    fn lost(&self) -> End {
        self.sender.send_modify(|sight| sight.gone = true);
        End::Gone
    }

    /// Whether it only has the name of the one that is watched.
    fn is_other(&self, workspace: &Workspace) -> bool {
        workspace.metadata.uid != self.metadata().uid
    }

    fn metadata(&self) -> ObjectMeta {
        self.sender.borrow().workspace.metadata.clone()
    }

    fn version(&self) -> String {
        self.metadata().resource_version.unwrap_or_default()
    }

    fn access(&self, verb: &'static str) -> Access {
        Access::new(verb, self.cluster.namespace())
    }
}

/// What a refused watch means. Many refusals pass: of a balancer without a server behind it, of a server that starts or has
/// too much to do, of credentials that are being renewed.
fn refusal(status: Box<Status>) -> End {
    match status.code {
        410 => End::Expired,
        401 | 408 | 429 | 500..=599 => End::Interrupted,
        _ => End::Refused(Box::new(kube::Error::Api(status))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};

    use super::{super::told::stored_workspace as workspace, *};

    fn status(code: u16) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "code": code, "message": "no"})
    }

    /// What is seen of a workspace whose first watch is refused with `code`, and whose second one reports its end.
    async fn after(code: u16) -> Sight {
        let watches = AtomicUsize::new(0);
        let cluster = Cluster::told(move |request| {
            if !request.contains("watch=true") {
                // Not an answer about the workspace: nobody knows that path.
                return Some((404, status(404)));
            }
            Some(match watches.fetch_add(1, Ordering::Relaxed) {
                0 => (code, status(code)),
                _ => (200, json!({"type": "DELETED", "object": workspace()})),
            })
        });
        cluster.observe(serde_json::from_value(workspace()).unwrap()).gone().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_passes_does_not_end_the_watch() {
        for code in [401, 408, 410, 429, 500, 502, 503, 504] {
            let sight = after(code).await;
            assert!(sight.gone && sight.blind.is_none(), "{code}: {sight:?}");
        }
        for code in [403, 404] {
            let sight = after(code).await;
            assert!(!sight.gone && sight.blind.is_some(), "{code}: {sight:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_asked_again() {
        let watches = AtomicUsize::new(0);
        let cluster = Cluster::told(move |_| match watches.fetch_add(1, Ordering::Relaxed) {
            0 => None,
            _ => Some((200, json!({"type": "DELETED", "object": workspace()}))),
        });
        assert!(cluster.observe(serde_json::from_value(workspace()).unwrap()).gone().await.gone);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_found_when_it_is_read_again_is_gone_only_if_the_answer_is_about_it() {
        let read = AtomicUsize::new(0);
        let cluster = Cluster::told(move |request| {
            if request.contains("watch=true") {
                return Some((410, status(410)));
            }
            // At first a balancer answers, in the way of a server that does not know the kind.
            Some(match read.fetch_add(1, Ordering::Relaxed) {
                0 => (404, status(404)),
                1 => (200, workspace()),
                _ => (
                    404,
                    json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "",
                    "details": {"name": "fix", "kind": "workspaces"}}),
                ),
            })
        });
        let mut observed = cluster.observe(serde_json::from_value(workspace()).unwrap());
        let mut sight = observed.subscribe();
        drop(sight.changed().await);
        assert!(!sight.borrow().gone, "it was read the second time");
        assert!(observed.gone().await.gone);
    }
}
