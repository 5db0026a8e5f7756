//! Ending a workspace: one request, then one event that says that everything is gone.

use kube::{
    ResourceExt as _,
    api::{DeleteParams, Preconditions},
};
use ws_api::workspace::Workspace;

use super::{Access, Cluster, explain::is_absent_object};
use crate::error::Error;

/// What became of a request to end a workspace.
pub enum Deletion {
    /// It ends; this is its latest, from which it can be watched until it is gone.
    Begun(Box<Workspace>),
    /// There is none, or none of that UID.
    Gone,
}

impl Cluster {
    /// Ends a workspace: in the foreground, so that the Workspace goes last and nothing of it is left once it is gone.
    /// A new workspace of the same name is not touched.
    pub async fn delete(&self, workspace: &Workspace) -> Result<Deletion, Error> {
        let name = workspace.name_any();
        let params = DeleteParams::foreground()
            .preconditions(Preconditions { uid: workspace.metadata.uid.clone(), resource_version: None });
        let access = Access::new("delete", &self.namespace).of(&name);
        match self.bounded(self.workspaces().delete(&name, &params)).await? {
            Ok(answer) => {
                Ok(answer.either(|workspace| Deletion::Begun(Box::new(workspace)), |_| Deletion::Gone))
            }
            Err(kube::Error::Api(status)) if is_absent_object(&status) || status.is_conflict() => {
                Ok(Deletion::Gone)
            }
            Err(error) => Err(self.explain(&access, error)),
        }
    }
}
