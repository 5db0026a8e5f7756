//! `ws down`.

use futures::{StreamExt as _, stream};
use ws_api::{names::WorkspaceName, workspace::Phase};

use super::{
    Context,
    existing::{Existing, find},
};
use crate::{
    cluster::{Cluster, Observed},
    ending::{Farewell, Saved, destroy, save, unsaved},
    error::Error,
    state::State,
    ui::Ui,
    units,
};

/// Workspaces that are ended at the same time.
const AT_ONCE: usize = 8;

/// Destroy workspaces
///
/// Changes that were not pulled are kept as a patch on this machine first. Returns when nothing of them is left.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of workspaces [default: the only one of this project]
    #[arg(value_name = "NAME")]
    names: Vec<WorkspaceName>,
    /// All workspaces of the namespace
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Give up changes that were not pulled
    #[arg(long)]
    discard: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let cluster = context.cluster().await?;
    let state = State::open()?;
    let existing = context.interrupts.unless(chosen(&args, &cluster, &state)).await?;
    if args.all && !existing.is_empty() && !args.yes {
        confirm(&existing, &context.ui)?;
    }
    let ui = &context.ui;
    if existing.is_empty() {
        ui.note("there is nothing to destroy");
    }
    let endings = stream::iter(&existing).map(|existing| end(existing, &cluster, args.discard, ui));
    let endings = endings.buffered(AT_ONCE).collect::<Vec<_>>();
    let endings = tokio::select! {
        endings = endings => endings,
        signal = context.interrupts.next() => {
            return Err(Error::interrupted(signal).hinted("`ws ls` shows what is left"));
        }
    };
    conclude(endings, ui)
}

async fn chosen(args: &Args, cluster: &Cluster, state: &State) -> Result<Vec<Existing>, Error> {
    if args.all {
        let all = cluster.list(false).await?;
        return Ok(all.into_iter().map(|workspace| Existing::of(workspace, state)).collect());
    }
    if args.names.is_empty() {
        return Ok(vec![find(None, cluster, state).await?]);
    }
    let mut chosen = Vec::new();
    for name in &args.names {
        chosen.push(find(Some(name), cluster, state).await?);
    }
    Ok(chosen)
}

fn confirm(existing: &[Existing], ui: &Ui) -> Result<(), Error> {
    let names: Vec<String> = existing.iter().map(Existing::name).collect();
    let what = units::count(names.len() as u64, "workspace", "workspaces");
    if !Ui::can_ask() {
        return Err(
            Error::usage(format!("this would destroy {what}: {}", names.join(", "))).hinted("add --yes")
        );
    }
    if ui.confirm(&format!("Destroy {what}: {}?", names.join(", "))) {
        Ok(())
    } else {
        Err(Error::user("nothing was destroyed"))
    }
}

async fn end(existing: &Existing, cluster: &Cluster, discard: bool, ui: &Ui) -> Result<Farewell, Error> {
    let name = existing.name();
    let (saved, observed) =
        if discard { (Saved::default(), None) } else { keep(existing, cluster, ui).await? };
    ui.progress(&format!("ending {name}"));
    let farewell = destroy(cluster, &existing.workspace, observed).await?;
    if let Some(memory) = &existing.memory
        && farewell.gone
    {
        memory.forget();
    }
    Ok(Farewell { patch: saved.patch, ..farewell })
}

/// Keeps what was not pulled, where there can be anything: not in a workspace that never received a project, and not in
/// one whose pod is gone.
async fn keep(existing: &Existing, cluster: &Cluster, ui: &Ui) -> Result<(Saved, Option<Observed>), Error> {
    let phase = existing.workspace.status.as_ref().and_then(|status| status.phase);
    let is_over = phase == Some(Phase::Failed) || existing.workspace.metadata.deletion_timestamp.is_some();
    let was_never_filled = existing.memory.as_ref().is_some_and(|memory| memory.baseline().is_none());
    if is_over || was_never_filled {
        return Ok((Saved::default(), None));
    }
    let name = existing.name();
    let save = async {
        let (connection, observed) = existing.connect(cluster, ui).await?;
        ui.progress(&format!("keeping what changed in {name}"));
        let memory = existing.memory()?;
        let saved = save(&connection, memory).await?;
        connection.close().await;
        saved.announce(&memory.project, ui);
        Ok((saved, Some(observed)))
    };
    let kept: Result<_, Error> = save.await;
    kept.map_err(|error| {
        let hint = format!("give them up with `ws down {name} --discard`");
        unsaved(&name, error).hinted(hint)
    })
}

/// Reports every ending; the first failure is the command's.
fn conclude(endings: Vec<Result<Farewell, Error>>, ui: &Ui) -> Result<u8, Error> {
    let (mut farewells, mut failures) = (Vec::new(), Vec::new());
    for ending in endings {
        match ending {
            Ok(farewell) => farewells.push(farewell),
            Err(error) => failures.push(error),
        }
    }
    for line in farewells.iter().flat_map(Farewell::lines) {
        ui.note(&line);
    }
    if ui.json() {
        ui.json_result(&farewells)?;
    }
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(0) };
    for failure in failures {
        ui.trouble(&failure);
    }
    Err(first)
}
