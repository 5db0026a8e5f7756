//! `ws describe`.

use k8s_openapi::jiff::Timestamp;
use ws_api::names::WorkspaceName;

use super::{Context, existing::find, view::Description};
use crate::{error::Error, state::State};

/// Show all that is known of a workspace
///
/// Its state and what led there, and what it tried to reach.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the workspace [default: the only one of this project]
    #[arg(value_name = "NAME")]
    name: Option<WorkspaceName>,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let cluster = context.cluster().await?;
    let state = State::open()?;
    let existing = context.interrupts.unless(find(args.name.as_ref(), &cluster, &state)).await?;
    let description = Description::of(&existing.workspace, existing.memory.as_ref());
    if context.ui.json() {
        context.ui.json_result(&description)?;
    } else {
        context.ui.result(&description.text(Timestamp::now()))?;
    }
    Ok(0)
}
