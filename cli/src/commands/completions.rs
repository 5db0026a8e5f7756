//! `ws completions`.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::Context;
use crate::{args::Cli, error::Error};

/// Print completions for a shell
///
/// For bash: `ws completions bash > ~/.local/share/bash-completion/completions/ws`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub fn run(args: &Args, context: &Context) -> Result<u8, Error> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "ws", &mut script);
    context.ui.raw_result(&script).map(|()| 0)
}
