//! `ws diff`.

use std::path::PathBuf;

use ws_api::names::WorkspaceName;
use ws_tree::{ChangeSet, TreePath};

use super::{Context, existing::Existing, paths::in_project};
use crate::{
    changes::{baseline, fetch},
    cluster::Cluster,
    error::Error,
    results,
    state::{Memory, State},
    ui::Ui,
};

/// Show changes that have not been pulled
///
/// Everything is shown escaped. What would run on this machine by itself, once pulled, is marked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the workspace [default: the only one of this project]
    #[arg(value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Show only how much changed in each file
    #[arg(long, conflicts_with = "patch")]
    stat: bool,
    /// Write a patch that `git apply` takes, byte for byte as the workspace has it; not to a terminal
    #[arg(long, conflicts_with = "json")]
    patch: bool,
    /// Only these files and folders
    #[arg(last = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    if args.patch && Ui::writes_to_terminal() {
        return Err(Error::usage("a patch holds bytes of the workspace that a terminal would obey")
            .hinted("write it to a file, as in `ws diff --patch > changes.patch`"));
    }
    let cluster = context.cluster().await?;
    let state = State::open()?;
    let ui = &context.ui;
    let work = async {
        let existing = super::existing::find(args.name.as_ref(), &cluster, &state).await?;
        let changes = changes_of(&existing, &cluster, ui).await?;
        Ok((existing, changes))
    };
    let (existing, mut changes) = context.interrupts.unless(work).await?;
    let project = &existing.memory()?.project;
    let paths = in_project(&args.paths, project)?;
    if !paths.is_empty() {
        let chosen = |path: &TreePath| paths.iter().any(|chosen| path == chosen || path.is_inside(chosen));
        changes.changes.retain(|change| chosen(&change.path));
        changes.unsupported.retain(|unsupported| chosen(&unsupported.path));
        changes.reverted.retain(|path| chosen(path));
    }
    let difference = results::diff(project, &changes)?;
    show(&args, &difference, ui).map(|()| 0)
}

/// Fetches what changed in a workspace, since what was pulled of it before.
pub(super) async fn changes_of(existing: &Existing, cluster: &Cluster, ui: &Ui) -> Result<ChangeSet, Error> {
    let memory = existing.memory()?;
    let base = baseline(memory)?.ok_or_else(|| never_filled(memory))?;
    let (connection, _observed) = existing.connect(cluster, ui).await?;
    ui.progress("reading the changes");
    let changes = fetch(&connection, base, memory).await;
    connection.close().await;
    changes
}

fn never_filled(memory: &Memory) -> Error {
    let name = &memory.record.name;
    Error::user(format!("workspace `{name}` never confirmed to have received the project"))
        .hinted(format!("end it with `ws down {name}` and make another one"))
}

fn show(args: &Args, difference: &results::Difference<'_>, ui: &Ui) -> Result<(), Error> {
    if args.patch {
        ui.raw_stream(|out| difference.patch(out))?;
        difference.remarks().iter().for_each(|remark| ui.warn(remark));
        return Ok(());
    }
    if ui.json() {
        return ui.json_result(&difference.report()?);
    }
    if difference.is_empty() {
        ui.note("nothing changed that was not pulled");
        return Ok(());
    }
    ui.lines(|print| {
        if args.stat {
            difference.stat()?.iter().try_for_each(|line| print(line))?;
        } else {
            difference.text(print)?;
        }
        difference.remarks().iter().try_for_each(|remark| print(remark))
    })
}
