//! The cluster: what the command reads and writes there. Nothing else here talks to the Kubernetes API, except to open a
//! way to a pod.

mod connect;
mod delete;
mod explain;
mod observe;

use std::time::Duration;

use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use tokio::time::timeout;
use ws_api::{CLI_FIELD_MANAGER, names::WorkspaceName, workspace::Workspace};

use crate::error::{Error, Kind};

pub use connect::Options;
pub use delete::Deletion;
pub use explain::{Access, failure, progress};
pub use observe::{Observed, Sight};

/// How long the API server may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A cluster and the namespace in it that the user works in.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    server: String,
}

impl Cluster {
    /// The client, to open a way to a pod with.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// URL of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Creates a workspace and returns it as the server stored it.
    pub async fn create(&self, workspace: &Workspace) -> Result<Workspace, Error> {
        let params =
            PostParams { field_manager: Some(CLI_FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let access = Access::new("create", &self.namespace).of(&workspace.name_any());
        match self.answer(access, self.workspaces().create(&params, workspace)).await {
            // The request may have been heard though its answer was not: no other workspace has this session's key.
            Err(error) if error.kind == Kind::Unreachable => {
                match self.workspaces().get(&workspace.name_any()).await {
                    Ok(stored) if stored.spec.ssh_public_keys == workspace.spec.ssh_public_keys => Ok(stored),
                    _ => Err(error),
                }
            }
            answer => answer,
        }
    }

    /// Reads a workspace; none if there is no such one.
    pub async fn find(&self, name: &WorkspaceName) -> Result<Option<Workspace>, Error> {
        let access = Access::new("get", &self.namespace).of(name.as_ref());
        match self.bounded(self.workspaces().get(name.as_ref())).await? {
            Ok(workspace) => Ok(Some(workspace)),
            Err(kube::Error::Api(status)) if explain::is_absent_object(&status) => Ok(None),
            Err(error) => Err(self.explain(&access, error)),
        }
    }

    /// Reads a workspace that should be there.
    pub async fn get(&self, name: &WorkspaceName) -> Result<Workspace, Error> {
        self.find(name).await?.ok_or_else(|| {
            Error::user(format!("there is no workspace `{name}` in namespace `{}`", self.namespace))
                .hinted("`ws ls` lists the workspaces there, `ws ls -A` those of all namespaces")
        })
    }

    /// Lists the workspaces of the namespace, or of all.
    pub async fn list(&self, everywhere: bool) -> Result<Vec<Workspace>, Error> {
        let (api, access) = if everywhere {
            (Api::all(self.client()), Access::everywhere("list"))
        } else {
            (self.workspaces(), Access::new("list", &self.namespace))
        };
        let list = self.answer(access, async move { api.list(&ListParams::default()).await }).await?;
        Ok(list.items)
    }

    fn workspaces(&self) -> Api<Workspace> {
        Api::namespaced(self.client(), &self.namespace)
    }

    async fn answer<T>(
        &self,
        access: Access,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        self.bounded(request).await?.map_err(|error| self.explain(&access, error))
    }

    async fn bounded<T>(&self, request: impl Future<Output = T>) -> Result<T, Error> {
        timeout(ANSWER_LIMIT, request).await.map_err(|_| {
            Error::unreachable(format!("{} did not answer within {} s", self.server, ANSWER_LIMIT.as_secs()))
                .hinted("check the network and the cluster, then try again")
        })
    }

    /// Says why a request failed.
    pub fn explain(&self, access: &Access, error: kube::Error) -> Error {
        explain::explain(error, access, &self.server)
    }
}
