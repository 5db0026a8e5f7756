//! `ws up`.

use std::{ffi::OsString, path::PathBuf};

use clap::builder::NonEmptyStringValueParser;

use super::{
    Context,
    making::Making,
    own_session::{AfterLoss, Plan},
};
use crate::{agents::Agent, error::Error, session::Program};

/// Create a workspace from a project and open a shell, or start an agent, in it
///
/// Sends the project's own files (what git tracks, and what neither .gitignore nor .wsignore names) into a fresh, contained
/// pod and opens a shell there. Leaving the shell destroys the pod; changes that were not pulled are kept as a patch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's folder
    #[arg(default_value = ".", value_name = "PATH")]
    path: PathBuf,
    /// Open no shell and leave the workspace running; `ws down` ends it. Changes that nobody pulled are gone if it ends by
    /// itself, idle or at the end of its lifetime
    #[arg(short, long)]
    detach: bool,
    /// Start this coding agent instead of a shell: `claude`, `codex` and `gemini` with permission to do everything in the
    /// workspace, any other program as it is. The image has to have it
    #[arg(long, value_name = "AGENT", conflicts_with = "detach", value_parser = NonEmptyStringValueParser::new())]
    agent: Option<String>,
    /// Further arguments of the agent
    #[arg(last = true, requires = "agent", value_name = "ARG")]
    arguments: Vec<OsString>,
    #[command(flatten)]
    making: Making,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let wish = args.making.wish(&args.path)?;
    let program = match args.agent {
        Some(agent) => Some(Program::Agent(Agent::new(&agent, &args.arguments))),
        None if args.detach => None,
        None => Some(Program::Shell),
    };
    Plan { wish, program, after_loss: AfterLoss::Leave }.carry_out(context).await
}
