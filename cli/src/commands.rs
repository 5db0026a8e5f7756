//! One module for each command: its arguments, its help and one function that runs it.

pub mod attach;
pub mod completions;
pub mod describe;
pub mod diff;
pub mod down;
pub mod egress;
pub mod ls;
pub mod policy;
pub mod presets;
pub mod pull;
pub mod run;
pub mod up;
pub mod version;

mod existing;
mod making;
mod own_session;
mod paths;
mod view;

use crate::{
    args::{Command, Global},
    cluster::{Cluster, Options},
    error::Error,
    interrupt::Interrupts,
    ui::Ui,
};

/// What a command works with.
pub struct Context {
    pub ui: Ui,
    pub interrupts: Interrupts,
    pub options: Options,
}

impl Context {
    /// The cluster, once a command needs it.
    pub async fn cluster(&mut self) -> Result<Cluster, Error> {
        self.interrupts.unless(Cluster::connect(&self.options)).await
    }
}

impl From<&Global> for Options {
    fn from(global: &Global) -> Self {
        Self {
            kubeconfig: global.kubeconfig.clone(),
            context: global.context.clone(),
            namespace: global.namespace.clone(),
        }
    }
}

/// Runs a command to its end; the result is the exit code of the process.
pub async fn dispatch(command: Command, context: &mut Context) -> Result<u8, Error> {
    match command {
        Command::Up(args) => up::run(args, context).await,
        Command::Run(args) => run::run(args, context).await,
        Command::Attach(args) => attach::run(args, context).await,
        Command::Ls(args) => ls::run(&args, context).await,
        Command::Describe(args) => describe::run(args, context).await,
        Command::Diff(args) => diff::run(args, context).await,
        Command::Pull(args) => pull::run(args, context).await,
        Command::Down(args) => down::run(args, context).await,
        Command::Egress(args) => egress::run(args, context).await,
        Command::Policy(args) => policy::run(args, context).await,
        Command::Presets(args) => presets::run(&args, context),
        Command::Completions(args) => completions::run(&args, context),
        Command::Version(args) => version::run(&args, context),
    }
}
