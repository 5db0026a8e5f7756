//! `ws egress`.

use ws_api::names::WorkspaceName;

use super::{Context, existing::find};
use crate::{decisions, error::Error, state::State};

/// Show what the gateway allowed and denied a workspace, the last 256 decisions
///
/// The gateway itself answers, through the workspace, which cannot change what it says.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the workspace [default: the only one of this project]
    #[arg(value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Go on with what is decided from now on
    #[arg(short, long)]
    follow: bool,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let cluster = context.cluster().await?;
    let state = State::open()?;
    let ui = &context.ui;
    let work = async {
        let existing = find(args.name.as_ref(), &cluster, &state).await?;
        let (connection, observed) = existing.connect(&cluster, ui).await?;
        ui.progress("asking the gateway");
        let shown = decisions::show(&connection, &observed.latest().workspace, args.follow, ui).await;
        connection.close().await;
        shown
    };
    context.interrupts.unless(work).await.map(|()| 0)
}
