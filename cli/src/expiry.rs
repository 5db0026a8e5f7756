//! A workspace that expires while somebody works in it: what changed is kept shortly before, because then nobody is there
//! any more to hand it over.

use std::{pin::pin, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::time::sleep;
use ws_api::workspace::Workspace;

use crate::{
    ending::{Saved, save},
    ssh::Connection,
    state::Memory,
    ui::Ui,
    units::span,
};

/// How long before its end a workspace's changes are kept.
const AHEAD: Duration = Duration::from_mins(1);
/// A short life leaves at least three quarters of it to work in.
const SHARE: u32 = 4;
/// How often the clock is looked at: a timer stands still while a laptop sleeps.
const LOOK: Duration = Duration::from_secs(5);

/// Does `work` to its end, and keeps the changes once meanwhile, in time. What was kept is in `kept`.
pub async fn keeping_in_time<T>(
    work: impl Future<Output = T>,
    workspace: &Workspace,
    connection: &Connection,
    memory: &Memory,
    ui: &Ui,
    kept: &mut Saved,
) -> T {
    let mut work = pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = keep_when_due(workspace, connection, memory, ui, kept) => {}
    }
    work.await
}

async fn keep_when_due(
    workspace: &Workspace,
    connection: &Connection,
    memory: &Memory,
    ui: &Ui,
    kept: &mut Saved,
) {
    while !is_due(workspace, Timestamp::now()) {
        sleep(LOOK).await;
    }
    let name = workspace.name_any();
    let left =
        expiry(workspace).and_then(|end| Duration::try_from(end.duration_since(Timestamp::now())).ok());
    ui.warn(&format!("workspace `{name}` expires in {}", span(left.unwrap_or_default())));
    match save(connection, memory).await {
        Ok(saved) => {
            saved.announce(&memory.project, ui);
            *kept = saved;
        }
        Err(error) => ui.warn(&format!("its changes could not be kept: {}", error.message)),
    }
}

/// Whether it is time to keep the changes; never, as long as no end is known.
fn is_due(workspace: &Workspace, now: Timestamp) -> bool {
    let Some(end) = expiry(workspace) else { return false };
    let begin = workspace.creation_timestamp().map_or(Timestamp::MIN, |begin| begin.0);
    let life = Duration::try_from(end.duration_since(begin)).unwrap_or_default();
    now.checked_add(AHEAD.min(life / SHARE)).is_ok_and(|then| then >= end)
}

fn expiry(workspace: &Workspace) -> Option<Timestamp> {
    Some(workspace.status.as_ref()?.expires_at.as_ref()?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_kept_a_minute_before_the_end_or_after_three_quarters_of_a_short_life() {
        for (expires, now, due) in [
            ("2026-11-20T12:00:00Z", "2026-11-20T11:58:59Z", false),
            ("2026-11-20T12:00:00Z", "2026-11-20T11:59:00Z", true),
            ("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z", true),
            ("2026-11-20T10:01:00Z", "2026-11-20T10:00:44Z", false),
            ("2026-11-20T10:01:00Z", "2026-11-20T10:00:45Z", true),
        ] {
            let workspace = serde_json::from_value(serde_json::json!({
                "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
                "metadata": {"name": "fix", "creationTimestamp": "2026-11-20T10:00:00Z"},
                "spec": {"sshPublicKeys": []}, "status": {"expiresAt": expires},
            }));
            assert_eq!(is_due(&workspace.unwrap(), now.parse().unwrap()), due, "{expires} at {now}");
        }
    }
}
