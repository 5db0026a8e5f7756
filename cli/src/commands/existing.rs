//! A workspace that was made before: which one is meant, and a connection to it.

use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use ws_api::{names::WorkspaceName, workspace::Workspace};

use crate::{
    cluster::{Cluster, Observed},
    dial::dial,
    error::Error,
    ssh::{Connection, Identity},
    state::{Memory, State},
    ui::Ui,
};

/// A workspace of the cluster, and what this machine remembers of it.
#[derive(Clone)]
pub(super) struct Existing {
    pub(super) workspace: Workspace,
    pub(super) memory: Option<Memory>,
}

/// Finds the workspace of this name, or without a name the only one of the project in the current folder.
pub(super) async fn find(
    name: Option<&WorkspaceName>,
    cluster: &Cluster,
    state: &State,
) -> Result<Existing, Error> {
    match name {
        Some(name) => Ok(Existing::of(cluster.get(name).await?, state)),
        None => of_this_project(cluster, state).await,
    }
}

impl Existing {
    pub(super) fn of(workspace: Workspace, state: &State) -> Self {
        let memory = workspace.uid().and_then(|uid| state.find(&uid));
        Self { workspace, memory }
    }

    pub(super) fn name(&self) -> String {
        self.workspace.name_any()
    }

    /// What this machine remembers; a workspace of another machine cannot be entered from here.
    pub(super) fn memory(&self) -> Result<&Memory, Error> {
        self.memory.as_ref().ok_or_else(|| {
            Error::user(format!("this machine has no key for workspace `{}`", self.name()))
                .hinted("use the machine and the user that made it; `ws describe` works from everywhere")
        })
    }

    /// Logs in, waiting until the workspace has started.
    pub(super) async fn connect(&self, cluster: &Cluster, ui: &Ui) -> Result<(Connection, Observed), Error> {
        let key = self.memory()?.key().ok_or_else(|| {
            Error::user(format!("the key of workspace `{}` cannot be read", self.name()))
                .hinted("end it with `ws down --discard`, or without its changes it ends by itself")
        })?;
        let observed = cluster.observe(self.workspace.clone());
        let connection = dial(cluster, &observed, &Identity::from(key), Some(ui)).await?;
        Ok((connection, observed))
    }
}

async fn of_this_project(cluster: &Cluster, state: &State) -> Result<Existing, Error> {
    let folder = std::env::current_dir()
        .and_then(|folder| folder.canonicalize())
        .map_err(|error| Error::user(format!("the current folder cannot be used: {error}")))?;
    let remembered: Vec<Memory> = state.all().into_iter().filter(|memory| !memory.is_over()).collect();
    let (here, elsewhere) = candidates(&folder, remembered, cluster);
    let mut found = Vec::new();
    for memory in here {
        let Ok(name) = memory.record.name.parse::<WorkspaceName>() else { continue };
        // What is not there ended without this machine, or is on another cluster behind the same URL: it stays remembered.
        if let Some(workspace) = cluster.find(&name).await?
            && workspace.uid().as_deref() == Some(&memory.record.uid)
        {
            found.push(Existing { workspace, memory: Some(memory) });
        }
    }
    match found.len() {
        1 => found.pop().ok_or_else(|| Error::internal("a workspace was found and lost")),
        0 => Err(none_here(&folder, &elsewhere)),
        _ => Err(several_here(&found)),
    }
}

/// Workspaces of the project around `folder`: those in the cluster's namespace, and those in others.
fn candidates(folder: &Path, remembered: Vec<Memory>, cluster: &Cluster) -> (Vec<Memory>, Vec<Memory>) {
    let projects: Vec<PathBuf> = folder.ancestors().map(Path::to_owned).collect();
    let of_project: Vec<Memory> =
        remembered.into_iter().filter(|memory| projects.contains(&memory.project)).collect();
    of_project.into_iter().partition(|memory| {
        memory.record.server == cluster.server() && memory.record.namespace == cluster.namespace()
    })
}

fn none_here(folder: &Path, elsewhere: &[Memory]) -> Error {
    let error = Error::user(format!("there is no workspace of the project in {}", folder.display()));
    match elsewhere.first() {
        Some(memory) => error.hinted(format!(
            "there may be one in namespace `{}` of {}: `-n {}`, or another --context",
            memory.record.namespace, memory.record.server, memory.record.namespace
        )),
        None => error.hinted("pick one from `ws ls`, or make one with `ws up`"),
    }
}

fn several_here(found: &[Existing]) -> Error {
    let names: Vec<String> = found.iter().map(Existing::name).collect();
    Error::user("this project has several workspaces").hinted(format!("name one: {}", names.join(", ")))
}
