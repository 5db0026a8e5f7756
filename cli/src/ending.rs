//! How a workspace ends: what was not pulled is kept, then it is destroyed, and that is seen to its end.

use std::{path::PathBuf, time::Duration};

use kube::ResourceExt as _;
use serde::Serialize;
use tokio::time::timeout;
use ws_api::workspace::{EgressStatus, Workspace};

use crate::{
    changes::{baseline, fetch},
    cluster::{Cluster, Deletion, Observed},
    error::Error,
    results::{self, Unpulled},
    ssh::Connection,
    state::Memory,
    units::count,
};

/// How long the changes of a workspace may take to be fetched when it ends.
const SAVE_LIMIT: Duration = Duration::from_mins(2);
/// How long a workspace may take to be gone before the user is told that it is still on its way.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// What was kept of a workspace's changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    /// A patch that `git apply` takes; none if there was nothing to keep.
    pub patch: Option<PathBuf>,
    /// Paths in the patch.
    pub paths: usize,
    /// What could not be kept, or not as it should be, each with the reason.
    pub missing: Vec<String>,
}

/// What is left of a workspace, and what it tried.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Farewell {
    pub name: String,
    /// Whether nothing of it is left. If not, Kubernetes is still at it.
    pub gone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressStatus>,
}

/// Keeps what changed in the workspace and was not pulled, if the workspace received a project at all.
pub async fn save(connection: &Connection, memory: &Memory) -> Result<Saved, Error> {
    let Some(base) = baseline(memory)? else { return Ok(Saved::default()) };
    let fetched = timeout(SAVE_LIMIT, fetch(connection, base, memory)).await;
    let changes =
        fetched.map_err(|_| Error::user("the workspace did not hand its changes over in time"))??;
    let mut draft = memory.draft()?;
    let Unpulled { paths, missing } = results::unpulled_patch(&memory.project, &changes, &mut draft)?;
    if paths == 0 {
        return Ok(Saved { missing, ..Saved::default() });
    }
    Ok(Saved { patch: Some(memory.keep_patch(draft)?), paths, missing })
}

/// Destroys a workspace and waits until nothing of it is left. `observed` is a watch of it, if there is one already.
pub async fn destroy(
    cluster: &Cluster,
    workspace: &Workspace,
    observed: Option<Observed>,
) -> Result<Farewell, Error> {
    let name = workspace.name_any();
    let egress = |workspace: &Workspace| workspace.status.as_ref().and_then(|status| status.egress.clone());
    let begun = match cluster.delete(workspace).await? {
        Deletion::Begun(begun) => *begun,
        Deletion::Gone => return Ok(Farewell { name, gone: true, patch: None, egress: egress(workspace) }),
    };
    let mut observed = observed.unwrap_or_else(|| cluster.observe(begun));
    // What the watch has seen by then is reported in either case.
    drop(timeout(GONE_LIMIT, observed.gone()).await);
    let last = observed.latest();
    Ok(Farewell { name, gone: last.gone, patch: None, egress: egress(&last.workspace) })
}

impl Farewell {
    /// What happened, in lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.egress.iter().filter_map(denials).collect();
        lines.push(if self.gone {
            format!("{} is gone: its pod, its keys and everything in it", self.name)
        } else {
            format!("{} is being deleted by Kubernetes; `ws ls` shows when it is gone", self.name)
        });
        lines
    }
}

/// What the workspace tried to reach and was not let.
pub fn denials(egress: &EgressStatus) -> Option<String> {
    let total = u64::try_from(egress.denied).ok().filter(|total| *total > 0)?;
    let hosts: Vec<String> =
        egress.last_denied.iter().map(|denied| format!("{} ({}×)", denied.host, denied.count)).collect();
    Some(format!("{} denied: {}", count(total, "request was", "requests were"), hosts.join(", ")))
}
