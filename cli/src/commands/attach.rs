//! `ws attach`.

use std::ffi::OsString;

use ws_api::names::WorkspaceName;

use super::{Context, existing::find};
use crate::{
    dial::hopeless,
    error::{Error, Kind},
    session::{Program, Session},
    state::State,
};

/// Open a shell, or run a command, in a workspace that is there already
///
/// The exit code of the shell or command becomes this command's exit code. Leaving it leaves the workspace running.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the workspace [default: the only one of this project]
    #[arg(value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// The command and its arguments; a single word is a line for the shell [default: a shell]
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let cluster = context.cluster().await?;
    let state = State::open()?;
    let program = Program::from_words(&args.command);
    let start = async {
        let existing = find(args.name.as_ref(), &cluster, &state).await?;
        let (connection, observed) = existing.connect(&cluster, &context.ui).await?;
        context.ui.clear();
        let session = Session::start(&connection, &program).await?;
        Ok((connection, observed, session))
    };
    let (connection, observed, session) = context.interrupts.unless(start).await?;
    let result = session.run(&mut context.interrupts).await;
    connection.close().await;
    result.map_err(|error| match error.kind {
        Kind::Lost => hopeless(&observed.latest()).unwrap_or(error),
        _ => error,
    })
}
