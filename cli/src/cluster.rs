//! The cluster: what the command reads and writes there. Nothing else here talks to the Kubernetes API, except to open a
//! way to a pod.

mod connect;
mod delete;
mod explain;
mod observe;
#[cfg(test)]
pub mod told;

use std::time::Duration;

use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use tokio::time::timeout;
use ws_api::{
    CLI_FIELD_MANAGER,
    class::WorkspaceClass,
    names::{ClassName, WorkspaceName},
    workspace::Workspace,
};

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
            // The request may have been heard though its answer was not. The client repeats it after some answers, and then
            // it is the workspace itself that has taken the name.
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::NameTaken) => {
                self.stored(workspace).await.ok_or(error)
            }
            answer => answer,
        }
    }

    /// This workspace, if the cluster has it: no other has this session's key.
    async fn stored(&self, workspace: &Workspace) -> Option<Workspace> {
        let stored = self.bounded(self.workspaces().get(&workspace.name_any())).await.ok()?.ok()?;
        (stored.spec.ssh_public_keys == workspace.spec.ssh_public_keys).then_some(stored)
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

    /// Reads a class.
    pub async fn class(&self, name: &ClassName) -> Result<WorkspaceClass, Error> {
        let classes: Api<WorkspaceClass> = Api::all(self.client());
        let access = Access::to_classes("get").of(name.as_ref());
        self.answer(access, async move { classes.get(name.as_ref()).await }).await
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workspace(key: &str) -> Value {
        json!({"apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "fix", "uid": "u-1"},
            "spec": {"sshPublicKeys": [key]}})
    }

    fn refusal(code: u16, reason: &str) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": reason})
    }

    /// What becomes of a creation with the key `ours` if the cluster answers it with `code` and then has `stored`.
    async fn created(code: u16, reason: &str, stored: Option<Value>) -> Result<Workspace, Kind> {
        let refusal = refusal(code, reason);
        let cluster = Cluster::told(move |request| match request.split_once(' ') {
            Some(("POST", _)) => Some((code, refusal.clone())),
            _ => stored.clone().map(|stored| (200, stored)),
        });
        let wanted: Workspace = serde_json::from_value(workspace("ours")).unwrap();
        cluster.create(&wanted).await.map_err(|error| error.kind)
    }

    #[tokio::test(start_paused = true)]
    async fn a_workspace_that_was_made_though_the_answer_says_otherwise_is_ours() {
        for (code, reason) in [(409, "AlreadyExists"), (429, ""), (500, ""), (502, ""), (504, "Timeout")] {
            let ours = created(code, reason, Some(workspace("ours"))).await;
            assert_eq!(ours.unwrap().metadata.uid.as_deref(), Some("u-1"), "{code}");
        }
        let taken = created(409, "AlreadyExists", Some(workspace("theirs"))).await;
        assert_eq!(taken.unwrap_err(), Kind::NameTaken);
        let forbidden = created(403, "Forbidden", Some(workspace("ours"))).await;
        assert_eq!(forbidden.unwrap_err(), Kind::User, "this is an answer");
    }

    #[tokio::test(start_paused = true)]
    async fn whether_it_was_made_is_not_waited_for_for_ever() {
        assert_eq!(created(504, "Timeout", None).await.unwrap_err(), Kind::Unreachable);
    }
}
