//! A session in a workspace of its own: what `up` and `run` share. Whatever happens on the way, the end is orderly.

use kube::ResourceExt as _;
use serde::Serialize;
use tokio::time::Instant;

use super::{Context, view::Summary};
use crate::{
    dial::over,
    ending::{Farewell, Saved, unsaved},
    error::{Error, Kind},
    interrupt::{Interrupts, Signal},
    owned::{Owned, Wish},
    session::Program,
    state::State,
    ui::Ui,
    units,
    upload::{Upload, Uploaded},
};

/// What to do.
pub(super) struct Plan {
    pub(super) wish: Wish,
    /// None: leave the workspace running.
    pub(super) program: Option<Program>,
    pub(super) after_loss: AfterLoss,
}

/// What becomes of a workspace that lives on when the connection to it breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AfterLoss {
    /// Somebody works in it and can come back.
    Leave,
    /// Nobody will come back.
    End,
}

/// The report of `--json` when a session is over.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    #[serde(flatten)]
    farewell: &'a Farewell,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

impl Plan {
    /// Makes the workspace, runs the program and ends the workspace. Returns the program's exit code.
    pub(super) async fn carry_out(self, context: &mut Context) -> Result<u8, Error> {
        let begin = Instant::now();
        let Self { wish, program, after_loss } = self;
        let upload = Upload::start(wish.project.clone(), wish.include.clone());
        let cluster = context.cluster().await?;
        let state = State::open()?;
        let mut owned = Owned::ask(&cluster, &state, wish)?;
        let filled = context.interrupts.unless(fill(&mut owned, upload, &context.ui)).await;
        let result = match (filled, program) {
            (Err(error), _) => Err(error),
            (Ok(uploaded), None) => return detach(owned, &uploaded, begin, &context.ui).await,
            (Ok(uploaded), Some(program)) => {
                remark(&uploaded, &context.ui);
                context.ui.note(&ready(&owned, &uploaded, begin));
                owned.run(&program, &mut context.interrupts, &context.ui).await
            }
        };
        let result = result.map_err(|error| cause(&owned, error));
        if after_loss == AfterLoss::Leave && is_lost(&owned, &result) {
            return leave(owned, result).await;
        }
        end(owned, result, context).await
    }
}

async fn fill(owned: &mut Owned<'_>, upload: Upload, ui: &Ui) -> Result<Uploaded, Error> {
    ui.progress("creating the workspace");
    owned.created().await?;
    owned.filled(upload, ui).await
}

async fn detach(mut owned: Owned<'_>, uploaded: &Uploaded, begin: Instant, ui: &Ui) -> Result<u8, Error> {
    let sight = owned.sight();
    remark(uploaded, ui);
    ui.note(&ready(&owned, uploaded, begin));
    let name = owned.name().unwrap_or_default();
    owned.leave().await;
    if ui.json() {
        if let Some(sight) = sight {
            ui.json_result(&Summary::of(&sight.workspace))?;
        }
    } else {
        ui.note(&format!("enter it with `ws attach {name}`, see its changes with `ws diff {name}`,"));
        ui.note(&format!("take them with `ws pull {name}` and end it with `ws down {name}`"));
        ui.result(&name)?;
    }
    Ok(0)
}

fn remark(uploaded: &Uploaded, ui: &Ui) {
    for remark in uploaded.packed.remarks() {
        ui.note(&remark);
    }
}

fn ready(owned: &Owned<'_>, uploaded: &Uploaded, begin: Instant) -> String {
    let files = uploaded.packed.sent.manifest.len() as u64;
    format!(
        "{} is ready after {}: {} sent, {}",
        owned.name().unwrap_or_default(),
        units::span(begin.elapsed()),
        units::count(files, "path", "paths"),
        units::bytes(uploaded.bytes)
    )
}

/// The reason behind an error: a connection breaks when its workspace ends.
fn cause(owned: &Owned<'_>, error: Error) -> Error {
    match owned.sight() {
        Some(sight) if error.kind == Kind::Lost => over(&sight).unwrap_or(error),
        _ => error,
    }
}

/// Whether only the connection is gone.
fn is_lost(owned: &Owned<'_>, result: &Result<u8, Error>) -> bool {
    let alive = owned.sight().is_some_and(|sight| over(&sight).is_none());
    alive && matches!(result, Err(Error { kind: Kind::Lost, .. }))
}

async fn leave(mut owned: Owned<'_>, result: Result<u8, Error>) -> Result<u8, Error> {
    let name = owned.name().unwrap_or_default();
    owned.leave().await;
    result.map_err(|error| {
        error.hinted(format!(
            "the workspace lives on until it is idle: `ws attach {name}` enters it again, `ws down {name}` ends it"
        ))
    })
}

/// Ends the workspace. Whoever insists does not wait for what changed or for the end, but the deletion is asked for in any
/// case.
async fn end(mut owned: Owned<'_>, result: Result<u8, Error>, context: &mut Context) -> Result<u8, Error> {
    let Context { ui, interrupts, .. } = context;
    let farewell = tokio::select! {
        farewell = finish(&mut owned, &result, ui) => farewell,
        signal = insisted(&result, interrupts, ui) => {
            return Err(Error::interrupted(signal).hinted(owned.abandon().await));
        }
    };
    conclude(farewell, result, ui)
}

/// Waits for a second signal. The first asks for an orderly end, which is under way, so it changes nothing.
async fn insisted(result: &Result<u8, Error>, interrupts: &mut Interrupts, ui: &Ui) -> Signal {
    if !is_interrupted(result) {
        interrupts.next().await;
        ui.warn("the workspace is ending; interrupt again to discard unsaved changes");
    }
    interrupts.insisted().await
}

fn is_interrupted(result: &Result<u8, Error>) -> bool {
    matches!(result, Err(Error { kind: Kind::Interrupted(_), .. }))
}

/// How the command ends. A program's own failure stays what it is; its success does not stand if the end failed.
fn conclude(
    farewell: Result<Option<Farewell>, Error>,
    result: Result<u8, Error>,
    ui: &Ui,
) -> Result<u8, Error> {
    match farewell {
        Ok(farewell) => {
            if let Some(farewell) = farewell {
                report(&farewell, result.as_ref().ok().copied(), ui);
            }
            result
        }
        Err(trouble) if matches!(result, Ok(0)) => Err(trouble),
        Err(trouble) => {
            ui.trouble(&trouble);
            result
        }
    }
}

async fn finish(
    owned: &mut Owned<'_>,
    result: &Result<u8, Error>,
    ui: &Ui,
) -> Result<Option<Farewell>, Error> {
    let Some(workspace) = owned.settle().await? else { return Ok(None) };
    let name = workspace.name_any();
    let saved = match owned.save(ui).await {
        Ok(saved) => saved,
        // Whoever ends a command by a signal wants its workspace gone; whoever does not keeps what they made.
        Err(error) if is_interrupted(result) => {
            ui.warn(&format!("the changes in {name} are lost: {}", error.message));
            Saved::default()
        }
        Err(error) => {
            owned.leave().await;
            return Err(unsaved(&name, error).hinted(format!(
                "`ws attach {name}` enters it, `ws down {name}` tries again, with --discard without the changes"
            )));
        }
    };
    saved.announce(owned.project(), ui);
    ui.progress(&format!("ending {name}"));
    owned.destroy(&workspace, ui).await.map(|farewell| Some(Farewell { patch: saved.patch, ..farewell }))
}

fn report(farewell: &Farewell, exit_code: Option<u8>, ui: &Ui) {
    ui.clear();
    if ui.json() {
        ui.json_report(&Report { farewell, exit_code });
    }
    for line in farewell.lines() {
        ui.note(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Verbosity;

    #[test]
    fn a_failed_end_takes_away_a_success_and_nothing_else() {
        let ui = Ui::new(Verbosity::Quiet, false);
        let trouble = || Err(Error::lost("it broke"));
        let interrupted = || Err(Error::interrupted(Signal::Hangup));
        assert_eq!(conclude(trouble(), Ok(7), &ui), Ok(7));
        assert_eq!(conclude(trouble(), Ok(0), &ui), Err(Error::lost("it broke")));
        assert_eq!(conclude(trouble(), interrupted(), &ui), interrupted());
        assert_eq!(conclude(Ok(None), Ok(7), &ui), Ok(7));
    }
}
