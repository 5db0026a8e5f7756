//! How a workspace ends: what was not pulled is kept, then it is destroyed, and that is seen to its end.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::ResourceExt as _;
use serde::Serialize;
use tokio::time::timeout;
use ws_api::workspace::{EgressStatus, Workspace};

use crate::{
    changes::{baseline, fetch},
    cluster::{Cluster, Deletion, Observed},
    error::Error,
    results::{self, Unpulled},
    session::command_line,
    ssh::Connection,
    state::Memory,
    ui::Ui,
    units::{bytes, count},
};

/// How long the changes of a workspace may take to be fetched when it ends.
const SAVE_LIMIT: Duration = Duration::from_mins(2);
/// How long a workspace may take to be gone before the user is told that it is still on its way.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// What cannot be kept is listed one by one up to here.
const LISTED: usize = 20;

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
        memory.drop_patch();
        return Ok(Saved { missing, ..Saved::default() });
    }
    Ok(Saved { patch: Some(memory.keep_patch(draft)?), paths, missing })
}

impl Saved {
    /// Says where the changes are, also to those who want to hear warnings only: they are nowhere else.
    pub fn announce(&self, project: &Path, ui: &Ui) {
        for missing in self.missing.iter().take(LISTED) {
            ui.warn(&format!("cannot be kept as it is: {missing}"));
        }
        if let Some(more) = self.missing.len().checked_sub(LISTED).filter(|more| *more > 0) {
            ui.warn(&format!("cannot be kept as it is: {more} more"));
        }
        let Some(patch) = &self.patch else { return };
        let what = count(self.paths as u64, "changed path was", "changed paths were");
        ui.warn(&format!("{what} not pulled, kept in {}", patch.display()));
        ui.note(&format!("read them first, then take them with `{}`", apply_command(project, patch)));
    }
}

/// The command that takes a patch of a project, wherever it is typed. Below the top of a repository git skips what is not
/// named from there, and says nothing.
fn apply_command(project: &Path, patch: &Path) -> String {
    let top = project.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(project);
    let mut words = vec![OsString::from("git"), "-C".into(), top.into(), "apply".into()];
    if let Ok(inside) = project.strip_prefix(top)
        && !inside.as_os_str().is_empty()
    {
        let mut directory = OsString::from("--directory=");
        directory.push(inside);
        words.push(directory);
    }
    words.push(patch.into());
    String::from_utf8_lossy(&command_line(&words)).into_owned()
}

/// Why a workspace is not destroyed: what changed in it cannot be saved.
pub fn unsaved(name: &str, error: Error) -> Error {
    let message =
        format!("workspace `{name}` was not destroyed: its changes cannot be saved ({})", error.message);
    Error { message, ..error }
}

/// Destroys a workspace and waits until nothing of it is left. `observed` is a watch of it, if there is one already.
pub async fn destroy(
    cluster: &Cluster,
    workspace: &Workspace,
    observed: Option<Observed>,
) -> Result<Farewell, Error> {
    let name = workspace.name_any();
    let egress = |workspace: &Workspace| workspace.status.as_ref().and_then(|status| status.egress.clone());
    let deletion = cluster.delete(workspace).await.map_err(|error| {
        error.meaning(&format!("workspace `{name}` is left behind; `ws down {name}` ends it"))
    })?;
    let begun = match deletion {
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
    /// What happened, in lines for people. The last sums up what was asked of hosts outside.
    pub fn lines(&self) -> Vec<String> {
        let gone = if self.gone {
            format!("{} is gone: its pod, its keys and everything in it", self.name)
        } else {
            format!("{} is being deleted by Kubernetes; `ws ls` shows when it is gone", self.name)
        };
        [gone].into_iter().chain(self.egress.as_ref().map(sum)).collect()
    }
}

/// What went out of the workspace, by which rules, and what was not let out. The hosts are hostile: the [`Ui`] escapes them.
fn sum(egress: &EgressStatus) -> String {
    let rules = egress.rules.iter().filter(|rule| rule.allowed > 0);
    let sent: Vec<String> =
        rules.map(|rule| format!("{} by {}", bytes(unsigned(rule.sent_bytes)), rule.name)).collect();
    let mut hosts: Vec<String> =
        egress.last_denied.iter().map(|denied| format!("{} {}×", denied.host, denied.count)).collect();
    // The status keeps the last hosts, and a request may have named none.
    let listed = egress.last_denied.iter().map(|denied| denied.count).fold(0, i64::saturating_add);
    if !hosts.is_empty() && listed < egress.denied {
        hosts.push("…".to_owned());
    }
    format!(
        "{} allowed{}, {} denied{}",
        count(unsigned(egress.allowed), "request", "requests"),
        in_brackets(&sent),
        unsigned(egress.denied),
        in_brackets(&hosts)
    )
}

fn in_brackets(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use serde_json::{Value, json};

    use super::*;

    fn farewell(egress: Option<Value>) -> Vec<String> {
        let egress = egress.map(|egress| serde_json::from_value(egress).unwrap());
        Farewell { name: "fix".to_owned(), gone: true, patch: None, egress }.lines()
    }

    #[test]
    fn the_last_line_sums_up_what_was_allowed_and_denied() {
        let denied =
            |host: &str, count: u64| json!({"host": host, "count": count, "at": "2026-11-21T08:00:00Z"});
        let rule = |name: &str, allowed: u64, sent: u64| json!({"name": name, "allowed": allowed, "sentBytes": sent});
        let gone = "fix is gone: its pod, its keys and everything in it";
        assert_eq!(farewell(None), [gone], "nobody knows");
        for (egress, expected) in [
            (json!({}), "0 requests allowed, 0 denied"),
            (
                json!({
                    "allowed": 12, "denied": 5, "rules": [rule("model", 8, 236_000), rule("crates", 4, 4_000), rule("docs", 0, 0)],
                    "lastDenied": [denied("telemetry.example", 1), denied("other.example", 4)],
                }),
                "12 requests allowed (236.0 kB by model, 4.0 kB by crates), 5 denied (telemetry.example 1×, other.example 4×)",
            ),
            (
                json!({"allowed": 1, "rules": [rule("model", 1, 999)]}),
                "1 request allowed (999 B by model), 0 denied",
            ),
            (
                json!({"denied": 100, "lastDenied": [denied("a.example", 99)]}),
                "0 requests allowed, 100 denied (a.example 99×, …)",
            ),
            (json!({"denied": 2}), "0 requests allowed, 2 denied"),
            (json!({"allowed": -1, "denied": -1}), "0 requests allowed, 0 denied"),
        ] {
            assert_eq!(farewell(Some(egress)), [gone, expected]);
        }
    }

    const PATCH: &str =
        "# note\ndiff --git a/src/x b/src/x\n--- a/src/x\n+++ b/src/x\n@@ -1 +1 @@\n-old\n+new\n";

    #[test]
    fn the_command_that_is_named_takes_the_patch_wherever_it_is_typed() {
        for (repository, project) in
            [(Some(""), ""), (Some(""), "it's/my app"), (Some("lib"), "lib"), (None, "")]
        {
            let folder = tempfile::tempdir().unwrap();
            let patch = folder.path().join("changes of x.patch");
            fs::write(&patch, PATCH).unwrap();
            let top = folder.path().join("top");
            let project = top.join(project);
            fs::create_dir_all(project.join("src")).unwrap();
            fs::write(project.join("src/x"), "old\n").unwrap();
            if let Some(repository) = repository {
                let init =
                    Command::new("git").args(["init", "-q"]).current_dir(top.join(repository)).status();
                assert!(init.unwrap().success());
            }
            let command = apply_command(&project, &patch);
            for typed_in in [Path::new("/"), &project.join("src")] {
                fs::write(project.join("src/x"), "old\n").unwrap();
                let shell = Command::new("sh").args(["-c", &command]).current_dir(typed_in).status();
                assert!(shell.unwrap().success(), "{command}");
                assert_eq!(fs::read_to_string(project.join("src/x")).unwrap(), "new\n", "{command}");
            }
        }
    }
}
