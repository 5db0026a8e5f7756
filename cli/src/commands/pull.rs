//! `ws pull`.

use std::{collections::BTreeSet, path::PathBuf};

use serde::Serialize;
use ws_api::names::WorkspaceName;
use ws_tree::TreePath;

use super::{Context, diff::changes_of, existing::find, paths::in_project};
use crate::{
    error::Error,
    pulled::remember,
    results::{self, Difference, Left},
    state::State,
    ui::Ui,
};

/// Bring what a workspace changed into the project
///
/// All or nothing, and never over a file that changed here since it was sent. Files that would run on this machine by
/// themselves (hooks, editor tasks, CI, build scripts) are left out and listed; they come only by name.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the workspace [default: the only one of this project]
    #[arg(value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Bring this file too, though it would run on this machine by itself; may be repeated
    #[arg(long, value_name = "PATH")]
    include: Vec<PathBuf>,
    /// Show what would be brought, and bring nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let cluster = context.cluster().await?;
    let state = State::open()?;
    let ui = &context.ui;
    let work = async {
        let existing = find(args.name.as_ref(), &cluster, &state).await?;
        let changes = changes_of(&existing, &cluster, ui).await?;
        Ok((existing, changes))
    };
    let (existing, changes) = context.interrupts.unless(work).await?;
    let memory = existing.memory()?;
    let project = &memory.project;
    let include = in_project(&args.include, project)?;
    if args.dry_run {
        return rehearse(&results::diff(project, &changes)?, &include, ui).map(|()| 0);
    }
    // From here on no signal is heeded until everything is in place, or nothing.
    let pulled = results::pull(project, &changes, &include)?;
    remember(&changes, memory)?;
    if ui.json() {
        ui.json_result(&pulled)?;
    } else {
        ui.result(&pulled.lines().join("\n"))?;
    }
    Ok(0)
}

/// The JSON of `ws pull --dry-run`. Paths are escaped.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rehearsal {
    would_apply: Vec<String>,
    would_leave: Vec<String>,
    /// Changed on both sides: a pull would be refused.
    conflicts: Vec<String>,
    /// What the workspace has and cannot be brought back.
    unsupported: Vec<Left>,
}

fn rehearse(difference: &Difference<'_>, include: &BTreeSet<TreePath>, ui: &Ui) -> Result<(), Error> {
    let named: BTreeSet<String> = include.iter().map(ToString::to_string).collect();
    let mut rehearsal = Rehearsal { unsupported: difference.left_there(), ..Rehearsal::default() };
    for change in difference.summary()? {
        let comes = change.class.objection().is_none() || named.contains(&change.path);
        let list = match (comes, change.changed_here) {
            (false, _) => &mut rehearsal.would_leave,
            (true, true) => &mut rehearsal.conflicts,
            (true, false) => &mut rehearsal.would_apply,
        };
        list.push(change.path);
    }
    if ui.json() {
        return ui.json_result(&rehearsal);
    }
    let Rehearsal { would_apply, would_leave, conflicts, unsupported } = rehearsal;
    let unsupported = unsupported.iter().map(ToString::to_string).collect();
    let lines = [
        ("would be applied", would_apply),
        ("would stay", would_leave),
        ("changed here too", conflicts),
        ("cannot be brought back", unsupported),
    ];
    let lines =
        lines.iter().flat_map(|(what, paths)| paths.iter().map(move |path| format!("{what}: {path}")));
    ui.result(&lines.collect::<Vec<_>>().join("\n"))
}
