//! `ws attach`.

use std::ffi::OsString;

use ws_api::names::WorkspaceName;

use super::{Context, existing::find};
use crate::{
    dial::over,
    ending::Saved,
    error::{Error, Kind},
    expiry::keeping_in_time,
    session::{Program, Session},
    state::State,
};

/// Open a shell, or run a command, in an existing workspace
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
        Ok((existing, connection, observed, session))
    };
    let (existing, connection, observed, session) = context.interrupts.unless(start).await?;
    let (memory, workspace) = (existing.memory()?, observed.latest().workspace);
    let mut kept = Saved::default();
    let work = session.run(&mut context.interrupts);
    let result = keeping_in_time(work, &workspace, &connection, memory, &context.ui, &mut kept).await;
    connection.close().await;
    match (result, over(&observed.latest())) {
        (Err(Error { kind: Kind::Lost, .. }), Some(over)) => {
            kept.announce(&memory.project, &context.ui);
            Err(over)
        }
        (result, _) => result,
    }
}
