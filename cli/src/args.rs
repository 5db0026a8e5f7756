//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    attach, completions, describe, diff, down, egress, ls, policy, presets, pull, run, up, version,
};

/// Disposable, contained workspaces for coding agents, on your Kubernetes cluster
#[derive(Debug, Parser)]
#[command(name = "ws", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 success, 1 the request or the cluster failed, 2 usage, 76 what answered is not the
workspace, 127 the workspace has no such agent, 255 a bug in ws, 128+N ended by signal N. A session
passes its command's own code through, but for a 0 if its workspace could not be ended.";

/// What every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", env = "WS_CONTEXT", hide_env_values = true)]
    pub context: Option<String>,
    /// Kubernetes namespace [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME", env = "WS_NAMESPACE", hide_env_values = true)]
    pub namespace: Option<String>,
    /// Kubeconfig [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Print JSON: results on standard output, errors and a session's report on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors and warnings only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say how long each step takes; twice: log what is sent to the cluster
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Up(up::Args),
    Run(run::Args),
    Attach(attach::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Describe(describe::Args),
    Diff(diff::Args),
    Pull(pull::Args),
    Down(down::Args),
    Egress(egress::Args),
    Policy(policy::Args),
    Presets(presets::Args),
    Completions(completions::Args),
    Version(version::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
