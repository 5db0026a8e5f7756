//! From a workspace under watch to a connection that is logged in.
//!
//! It does not wait for the phase `Ready`: as soon as the status says where and who the agent is, it is called, again and
//! again, until it answers. An agent answers once it has proven the isolation, so the handshake is the proof, and it comes
//! before the status does.

use std::{pin::pin, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use ws_api::{
    names::WorkspaceName,
    workspace::{Phase, Workspace},
};

use crate::{
    carrier::{self, Method, Pod},
    cluster::{Access, Cluster, Observed, Sight, failure, progress},
    error::{Error, chain},
    ssh::{ConnectError, Connection, Identity, Terms},
    ui::Ui,
};

/// How long a workspace may take to start. What never heals is reported by the operator long before.
const START_LIMIT: Duration = Duration::from_mins(15);
/// How long the operator may take to say anything at all.
const OPERATOR_LIMIT: Duration = Duration::from_secs(30);
/// How long the API server may take to open a way to the pod.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How long nothing is said: most workspaces are there by then.
const SILENCE: Duration = Duration::from_millis(500);

/// Between calls while the agent is about to answer.
const SHORT_PAUSE: Duration = Duration::from_millis(40);
/// Between calls once it takes long, as when an image is pulled.
const LONG_PAUSE: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(3);

/// Failed calls to an agent that is ready after which the other way is tried too.
const PATIENCE: u32 = 3;

/// Connects to the workspace, waiting for it to start. Progress goes to `ui`, if there is one.
pub async fn dial(
    cluster: &Cluster,
    observed: &Observed,
    identity: &Identity,
    ui: Option<&Ui>,
) -> Result<Connection, Error> {
    // Boxed, because it holds all of the handshake.
    let call = Box::pin(async {
        let mut sight = observed.subscribe();
        let address = addressable(&mut sight, identity, ui).await?;
        Caller::new(cluster, identity, address).call(&mut sight).await
    });
    tokio::select! {
        biased;
        error = ended(observed.subscribe(), ui) => Err(error),
        result = timeout(START_LIMIT, call) => result.unwrap_or_else(|_| Err(too_slow(&observed.latest().workspace))),
    }
}

/// Waits until the workspace can no longer be connected to, telling how it gets on once that takes a while.
async fn ended(mut sight: watch::Receiver<Sight>, ui: Option<&Ui>) -> Error {
    let mut patience = pin!(sleep(SILENCE));
    let mut is_slow = false;
    loop {
        let now = sight.borrow_and_update().clone();
        if let Some(error) = hopeless(&now) {
            return error;
        }
        if let (Some(ui), true) = (ui, is_slow) {
            ui.progress(&progress(&now.workspace));
        }
        tokio::select! {
            changed = sight.changed() => if changed.is_err() {
                return hopeless(&now).unwrap_or_else(|| Error::internal("the watch of the workspace ended"));
            },
            () = &mut patience, if !is_slow => is_slow = true,
        }
    }
}

/// Why there is nothing to wait for.
fn hopeless(sight: &Sight) -> Option<Error> {
    over(sight).or_else(|| sight.blind.clone())
}

/// Why nobody will answer any more: the workspace is over, and the cluster said so.
pub fn over(sight: &Sight) -> Option<Error> {
    let name = sight.workspace.metadata.name.as_deref().unwrap_or_default();
    let ended = sight.gone || sight.workspace.metadata.deletion_timestamp.is_some();
    failure(&sight.workspace).or_else(|| {
        ended.then(|| {
            Error::user(format!("workspace `{name}` was ended by someone or something else"))
                .hinted("it may have expired; `kubectl get events` may say more")
        })
    })
}

/// Where and who the agent is.
struct Address {
    pod: WorkspaceName,
    terms: Terms,
}

/// Waits until the status says where and who the agent is.
async fn addressable(
    sight: &mut watch::Receiver<Sight>,
    identity: &Identity,
    ui: Option<&Ui>,
) -> Result<Address, Error> {
    let claimed =
        timeout(OPERATOR_LIMIT, sight.wait_for(|sight| sight.workspace.status.is_some())).await.is_ok();
    if !claimed && let Some(ui) = ui {
        ui.warn("no operator has taken the workspace yet: is ws-operator running? `kubectl get pods -A -l app.kubernetes.io/name=ws-operator`");
    }
    let mut said = Ok(None);
    let is_said = |sight: &Sight| {
        said = address(&sight.workspace, identity);
        !matches!(said, Ok(None))
    };
    drop(sight.wait_for(is_said).await);
    said?.ok_or_else(|| Error::internal("the watch of the workspace ended"))
}

/// What the status says; none as long as it does not say it all. A status that can never be used is an error: the operator wrote
/// it, or whoever else may.
fn address(workspace: &Workspace, identity: &Identity) -> Result<Option<Address>, Error> {
    let Some(status) = &workspace.status else { return Ok(None) };
    let (Some(pod), Some(ssh)) = (&status.pod_name, &status.ssh) else { return Ok(None) };
    let pod = pod.parse().map_err(|_| unusable(workspace, "names a pod that cannot be one"))?;
    let terms = Terms::read(ssh, identity).map_err(|_| unusable(workspace, "has an invalid host key"))?;
    match terms {
        Some(terms) => Ok(Some(Address { pod, terms })),
        None if status.phase == Some(Phase::Ready) => {
            Err(unusable(workspace, "has no certificate for this session's key"))
        }
        None => Ok(None),
    }
}

fn unusable(workspace: &Workspace, why: &str) -> Error {
    let name = workspace.metadata.name.as_deref().unwrap_or_default();
    Error::user(format!("the status of workspace `{name}` {why}"))
        .hinted(format!("`ws describe {name}` shows it, `ws down {name}` ends the workspace"))
}

fn too_slow(workspace: &Workspace) -> Error {
    let name = workspace.metadata.name.as_deref().unwrap_or_default();
    Error::user(format!("workspace `{name}` did not start within {} minutes", START_LIMIT.as_secs() / 60))
        .hinted(format!("`ws describe {name}` says how far it is: {}", progress(workspace)))
}

/// Calls one agent until it answers.
struct Caller<'a> {
    cluster: &'a Cluster,
    pod: Pod,
    identity: &'a Identity,
    terms: Terms,
    method: Method,
    misses: u32,
    refusal: Option<Error>,
}

impl<'a> Caller<'a> {
    fn new(cluster: &'a Cluster, identity: &'a Identity, Address { pod, terms }: Address) -> Self {
        let pod = Pod {
            client: cluster.client(),
            namespace: cluster.namespace().to_owned(),
            name: pod.to_string(),
        };
        Self { cluster, pod, identity, terms, method: Method::PortForward, misses: 0, refusal: None }
    }

    async fn call(mut self, sight: &mut watch::Receiver<Sight>) -> Result<Connection, Error> {
        let begin = Instant::now();
        let mut pause = SHORT_PAUSE;
        loop {
            match self.once().await {
                Ok(connection) => return Ok(connection),
                Err(ConnectError::Final(error)) => return Err(error),
                Err(ConnectError::Silent(why)) => {
                    tracing::debug!(method = %self.method, %why, "the agent does not answer yet");
                }
            }
            let ready = is_ready(&sight.borrow());
            self.turn_if_useless(ready);
            let longest = if ready || begin.elapsed() < LONG { SHORT_PAUSE } else { LONG_PAUSE };
            pause = (pause * 2).min(longest);
            // News may be that it is ready, which is worth a call at once; otherwise the watch has ended.
            tokio::select! {
                () = sleep(pause) => {}
                _ = sight.wait_for(is_ready), if !ready => {}
            }
        }
    }

    async fn once(&mut self) -> Result<Connection, ConnectError> {
        let stream = match timeout(OPEN_LIMIT, carrier::open(&self.pod, self.method)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err(self.refused(kube::Error::Api(status)));
            }
            Ok(Err(error)) => return Err(ConnectError::Silent(chain(&error))),
            Err(_) => return Err(ConnectError::Silent("no way to it was opened in time".to_owned())),
        };
        Connection::open(stream, self.identity, &self.terms).await
    }

    /// A way that the user may not take: final, unless the other one is left. What is reported is the first refusal,
    /// because that permission is the smaller one.
    fn refused(&mut self, error: kube::Error) -> ConnectError {
        let access = Access::to("create", self.method.resource(), self.cluster.namespace());
        let error = self.cluster.explain(&access, error);
        if let Some(first) = self.refusal.take() {
            return ConnectError::Final(first);
        }
        let why = error.message.clone();
        self.refusal = Some(error);
        self.method = self.method.other();
        ConnectError::Silent(why)
    }

    /// An agent that is ready and does not answer may be in a sandbox that port-forward cannot reach.
    fn turn_if_useless(&mut self, ready: bool) {
        if !ready || self.refusal.is_some() {
            return;
        }
        self.misses += 1;
        if self.misses.is_multiple_of(PATIENCE) {
            self.method = self.method.other();
        }
    }
}

fn is_ready(sight: &Sight) -> bool {
    sight.workspace.status.as_ref().and_then(|status| status.phase) == Some(Phase::Ready)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFO/4UYtQoHTSC3QLPTcN3zBr2kVB0OvIghKbYXjyFCr";

    fn address_of(status: &Value) -> Result<Option<Address>, Error> {
        let workspace = serde_json::from_value(json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "fix"},
            "spec": {"sshPublicKeys": []}, "status": status,
        }));
        address(&workspace.unwrap(), &Identity::generate().unwrap())
    }

    #[test]
    fn a_status_that_says_not_everything_yet_is_waited_for() {
        for status in [
            json!(null),
            json!({"podName": "fix"}),
            json!({"podName": "fix", "ssh": {"hostKey": KEY}, "phase": "Starting"}),
        ] {
            assert!(matches!(address_of(&status), Ok(None)), "{status}");
        }
    }

    #[test]
    fn a_status_that_can_never_be_used_is_not_waited_for() {
        for (status, why) in [
            (json!({"podName": "../secrets/a", "ssh": {"hostKey": KEY}}), "names a pod that cannot be one"),
            (json!({"podName": "fix", "ssh": {"hostKey": "$(id)"}}), "has an invalid host key"),
            (json!({"podName": "fix", "ssh": {"hostKey": KEY}, "phase": "Ready"}), "has no certificate"),
        ] {
            let error = address_of(&status).err().unwrap();
            assert!(error.message.contains(why), "{}", error.message);
        }
    }
}
