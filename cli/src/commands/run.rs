//! `ws run`.

use std::{ffi::OsString, path::PathBuf};

use super::{
    Context,
    making::Making,
    own_session::{AfterLoss, Plan},
};
use crate::{error::Error, session::Program};

/// Run one command in a workspace of its own
///
/// Like `ws up`, but with a command instead of a shell. Its output is this command's output and its exit code is this
/// command's exit code. Several words are passed on as they are; a single one is a line for the shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's folder
    #[arg(short = 'C', long = "project", default_value = ".", value_name = "PATH")]
    path: PathBuf,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
    #[command(flatten)]
    making: Making,
}

pub async fn run(args: Args, context: &mut Context) -> Result<u8, Error> {
    let wish = args.making.wish(&args.path)?;
    let program = Some(Program::from_words(&args.command));
    Plan { wish, program, after_loss: AfterLoss::End }.carry_out(context).await
}
