//! A workspace that this process made and has to end: from its creation to the proof that nothing of it is left.
//!
//! Whatever interrupts the command, the workspace is still ended, so each step records here what it achieved before the
//! next begins.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use ws_api::{
    names::WorkspaceName,
    workspace::{Workspace, WorkspaceSpec},
};
use ws_tree::TreePath;

use crate::{
    cluster::{Cluster, Observed, Sight},
    denied::Denied,
    dial::{dial, over},
    ending::{Farewell, Saved, destroy, save},
    error::{Error, Kind},
    expiry::keeping_in_time,
    interrupt::Interrupts,
    names,
    session::{Program, Session},
    ssh::{Connection, Identity},
    state::{Memory, Record, State},
    ui::Ui,
    upload::{Upload, Uploaded},
};

/// How often a generated name may be taken already.
const ATTEMPTS: usize = 4;
/// How long the answer to a creation may still take when the command ends.
const LATE_ANSWER: Duration = Duration::from_secs(10);
/// How long the deletion may take to be heard when nobody wants to wait any more.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// How long a connection that broke may take to be made again, for the changes.
const REDIAL_LIMIT: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// None: generated from the project's folder.
    pub name: Option<WorkspaceName>,
    pub project: PathBuf,
    /// What is sent though it looks like a secret or is ignored.
    pub include: BTreeSet<TreePath>,
    /// Without keys.
    pub spec: WorkspaceSpec,
}

/// A workspace from the moment it is asked for.
pub struct Owned<'a> {
    cluster: &'a Cluster,
    state: &'a State,
    identity: Identity,
    project: PathBuf,
    creation: Creation,
    observed: Option<Observed>,
    memory: Option<Memory>,
    connection: Option<Connection>,
    /// What was saved before the workspace expired.
    kept: Saved,
    /// What the user was told of.
    denied: Denied,
}

/// Runs on its own, so that an interrupt does not leave it open whether there is a workspace.
enum Creation {
    Going(JoinHandle<Result<Workspace, Error>>),
    Done(Box<Workspace>),
    Failed,
}

impl<'a> Owned<'a> {
    /// Asks the cluster for the workspace; the answer is awaited by [`Owned::created`].
    pub fn ask(cluster: &'a Cluster, state: &'a State, wish: Wish) -> Result<Self, Error> {
        let identity = Identity::generate()?;
        let project = wish.project.clone();
        let request = create(cluster.clone(), wish, identity.public_key()?);
        let creation = Creation::Going(tokio::spawn(request));
        Ok(Self {
            cluster,
            state,
            identity,
            project,
            creation,
            observed: None,
            memory: None,
            connection: None,
            kept: Saved::default(),
            denied: Denied::default(),
        })
    }

    /// Waits until the workspace is stored in the cluster, and remembers it on this machine.
    pub async fn created(&mut self) -> Result<(), Error> {
        let Creation::Going(task) = &mut self.creation else { return Ok(()) };
        let answer =
            task.await.unwrap_or_else(|_| Err(Error::internal("the task that creates the workspace ended")));
        let workspace = match answer {
            Ok(workspace) => workspace,
            Err(error) => {
                self.creation = Creation::Failed;
                return Err(error);
            }
        };
        self.observed = Some(self.cluster.observe(workspace.clone()));
        self.creation = Creation::Done(Box::new(workspace.clone()));
        let record = Record {
            name: workspace.name_any(),
            namespace: self.cluster.namespace().to_owned(),
            uid: workspace.uid().unwrap_or_default(),
            server: self.cluster.server().to_owned(),
        };
        self.memory = Some(self.state.remember(record, &self.project, self.identity.key())?);
        Ok(())
    }

    /// Waits until the workspace answers and has the project.
    pub async fn filled(&mut self, mut upload: Upload, ui: &Ui) -> Result<Uploaded, Error> {
        let observed = self.observed.as_ref().ok_or_else(before_creation)?;
        let begin = Instant::now();
        let connection = tokio::select! {
            connection = dial(self.cluster, observed, &self.identity, Some(ui)) => connection?,
            error = upload.broken() => return Err(error),
        };
        ui.detail(&format!("connected after {} ms", begin.elapsed().as_millis()));
        let connection = self.connection.insert(connection);
        ui.progress("sending the project");
        let uploaded = upload.deliver(connection, ui).await?;
        let memory = self.memory.as_ref().ok_or_else(before_creation)?;
        memory.keep_baseline(&uploaded.packed.sent.manifest.encode())?;
        Ok(uploaded)
    }

    /// Runs a program in the filled workspace; returns its exit code.
    pub async fn run(
        &mut self,
        program: &Program,
        interrupts: &mut Interrupts,
        ui: &Ui,
    ) -> Result<u8, Error> {
        let (Some(connection), Some(memory), Some(observed)) =
            (&self.connection, &self.memory, &self.observed)
        else {
            return Err(before_creation());
        };
        let workspace = observed.latest().workspace;
        let begin = async {
            if let Program::Agent(agent) = program {
                agent.prepare(connection).await?;
            }
            Session::start(connection, program).await
        };
        let session = interrupts.unless(begin).await?;
        let denials = self.denied.announce(observed.subscribe(), ui);
        let work = async {
            tokio::select! {
                code = session.run(interrupts) => code,
                // It has no end: what is denied is said until the program's.
                () = denials => Err(Error::lost("it ended before the program did")),
            }
        };
        keeping_in_time(work, &workspace, connection, memory, ui, &mut self.kept).await
    }

    /// The name, once the workspace is created.
    pub fn name(&self) -> Option<String> {
        match &self.creation {
            Creation::Done(workspace) => Some(workspace.name_any()),
            Creation::Going(_) | Creation::Failed => None,
        }
    }

    /// What was last seen of the workspace.
    pub fn sight(&self) -> Option<Sight> {
        self.observed.as_ref().map(Observed::latest)
    }

    /// Says goodbye and leaves the workspace where it is.
    pub async fn leave(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// The workspace as far as it exists: an answer that is still out is waited for, but not for ever.
    pub async fn settle(&mut self) -> Result<Option<Workspace>, Error> {
        let waited = timeout(LATE_ANSWER, self.created()).await;
        match (&self.creation, waited) {
            (Creation::Done(workspace), _) => Ok(Some((**workspace).clone())),
            // Why it could not be made is known to whoever waited for it.
            (Creation::Failed, _) => Ok(None),
            (Creation::Going(_), _) => {
                Err(Error::user("the cluster did not say whether the workspace was created")
                    .hinted("`ws ls` shows whether it is there, `ws down NAME` ends it"))
            }
        }
    }

    /// Keeps what changed in the workspace, if it received a project and still is.
    pub async fn save(&mut self, ui: &Ui) -> Result<Saved, Error> {
        let (Some(memory), Some(observed)) = (&self.memory, &self.observed) else {
            return Ok(Saved::default());
        };
        if memory.baseline().is_none() {
            return Ok(Saved::default());
        }
        if let Some(over) = over(&observed.latest()) {
            let what = if self.kept.patch.is_some() { "what changed at last" } else { "what changed" };
            ui.warn(&format!("{what} could not be kept: {}", over.message));
            return Ok(self.kept.clone());
        }
        ui.progress("keeping what changed");
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return save(connection, memory).await;
        }
        let redial = dial(self.cluster, observed, &self.identity, None);
        let connection =
            timeout(REDIAL_LIMIT, redial).await.map_err(|_| Error::lost("it cannot be made again"))??;
        save(self.connection.insert(connection), memory).await
    }

    /// The project's folder.
    pub fn project(&self) -> &Path {
        &self.project
    }

    /// Has the workspace deleted and waits for nothing else. Returns what became of it, in words.
    pub async fn abandon(mut self) -> String {
        let workspace = match self.settle().await {
            Ok(Some(workspace)) => workspace,
            Ok(None) => return "there is no workspace".to_owned(),
            Err(_) => return "`ws ls` shows whether there is a workspace".to_owned(),
        };
        let name = workspace.name_any();
        match timeout(LAST_REQUEST, self.cluster.delete(&workspace)).await {
            Ok(Ok(_)) => format!("workspace `{name}` is being deleted; what was not kept by then is lost"),
            Ok(Err(_)) | Err(_) => format!("workspace `{name}` is left behind; `ws down {name}` ends it"),
        }
    }

    /// Destroys the workspace and forgets it.
    pub async fn destroy(&mut self, workspace: &Workspace, ui: &Ui) -> Result<Farewell, Error> {
        self.leave().await;
        let sight = self.observed.as_ref().map(Observed::subscribe);
        let farewell = destroy(self.cluster, workspace, self.observed.take()).await?;
        if let Some(mut sight) = sight {
            self.denied.say(&mut sight, ui);
        }
        if let Some(memory) = &self.memory
            && farewell.gone
        {
            memory.forget();
        }
        Ok(farewell)
    }
}

async fn create(cluster: Cluster, wish: Wish, public_key: String) -> Result<Workspace, Error> {
    let Wish { name, project, mut spec, include: _ } = wish;
    spec.ssh_public_keys = vec![public_key];
    let mut attempt = 1;
    loop {
        let chosen = match &name {
            Some(name) => name.clone(),
            None => names::generate(&project)?,
        };
        let metadata = ObjectMeta { name: Some(chosen.to_string()), ..ObjectMeta::default() };
        let workspace = Workspace { metadata, spec: spec.clone(), status: None };
        match cluster.create(&workspace).await {
            Err(Error { kind: Kind::NameTaken, .. }) if name.is_none() && attempt < ATTEMPTS => attempt += 1,
            answer => return answer,
        }
    }
}

fn before_creation() -> Error {
    Error::internal("a workspace was used before it was there")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{cluster::told::stored_workspace as workspace, ui::Verbosity};

    /// What becomes of the changes of a filled workspace whose connection is gone, and whose watch ends so.
    async fn saved(watch: (u16, Value), kept: &Saved) -> Result<Saved, Error> {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::told(move |request| {
            if request.contains("watch=true") {
                return Some(watch.clone());
            }
            Some((201, workspace()))
        });
        let state = State::in_folder(folder.path());
        let wish = Wish {
            name: Some("fix".parse().unwrap()),
            project: folder.path().to_owned(),
            include: BTreeSet::new(),
            spec: serde_json::from_value(json!({"sshPublicKeys": []})).unwrap(),
        };
        let mut owned = Owned::ask(&cluster, &state, wish).unwrap();
        owned.created().await.unwrap();
        owned.memory.as_ref().unwrap().keep_baseline(b"manifest").unwrap();
        owned.observed.as_mut().unwrap().gone().await;
        owned.kept = kept.clone();
        owned.save(&Ui::new(Verbosity::Quiet, false)).await
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_given_up_only_if_the_cluster_says_that_the_workspace_is_over() {
        let refused =
            json!({"kind": "Status", "apiVersion": "v1", "code": 403, "message": "x cannot watch y"});
        assert!(saved((403, refused), &Saved::default()).await.is_err(), "it may live");

        let deleted = json!({"type": "DELETED", "object": workspace()});
        for patch in [None, Some(PathBuf::from("changes.patch"))] {
            let before = Saved { paths: patch.iter().len(), patch, ..Saved::default() };
            assert_eq!(saved((200, deleted.clone()), &before).await, Ok(before));
        }
    }
}
