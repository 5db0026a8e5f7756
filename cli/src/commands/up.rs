//! `ws up`.

use std::path::PathBuf;

use super::{
    Context,
    making::Making,
    own_session::{AfterLoss, Plan},
};
use crate::{error::Error, session::Program};

/// Make a workspace of a project and open a shell in it
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
    #[command(flatten)]
    making: Making,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let wish = args.making.wish(&args.path)?;
    let program = if args.detach { None } else { Some(Program::Shell) };
    Plan { wish, program, after_loss: AfterLoss::Leave }.carry_out(context).await
}
