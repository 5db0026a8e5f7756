//! Watching one workspace, from when it was read until it is gone. Never polls.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use ws_api::workspace::Workspace;

use super::{Access, Cluster};
use crate::error::Error;

/// The server ends a watch after this many seconds and it is taken up again: some proxies end silent streams at 300.
const WATCH_SECONDS: u32 = 290;
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
        match self.api.watch(&params, version).await {
            Ok(events) => self.take(Box::pin(events)).await,
            Err(kube::Error::Api(status)) if status.code == 410 => End::Expired,
            Err(error @ kube::Error::Api(_)) => End::Refused(Box::new(error)),
            Err(_) => End::Interrupted,
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
        match self.api.get_opt(&name).await {
            Ok(Some(workspace)) if !self.is_other(&workspace) => {
                self.sender.send_modify(|sight| sight.workspace = workspace);
                false
            }
            Ok(_) => matches!(self.lost(), End::Gone),
            Err(_) => false,
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
