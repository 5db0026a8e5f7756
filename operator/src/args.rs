//! The command line. Every flag of `run` can be given by its variable as well.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// Reconciles workspaces and issues SSH certificates
#[derive(Debug, Parser)]
#[command(name = "ws-operator", version)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the custom resource definitions as YAML
    Crd,
    /// Run the operator
    ///
    /// In a cluster it uses its service account, elsewhere the kubeconfig of `KUBECONFIG`.
    Run(Box<Run>),
}

#[derive(Debug, clap::Args)]
pub struct Run {
    /// Namespace of ws itself: of the gateway's Service, the CA's Secret and the lease
    #[arg(long, env = "WS_NAMESPACE", default_value = "ws-system")]
    pub namespace: String,

    /// Repository of images that hold the agent; can be repeated
    #[arg(
        long = "stock-image",
        env = "WS_STOCK_IMAGES",
        value_name = "REPOSITORY",
        value_delimiter = ',',
        default_value = "ghcr.io/ws-dev/workspace"
    )]
    pub stock_images: Vec<String>,

    /// Image that brings the agent into all other images
    #[arg(
        long,
        env = "WS_AGENT_IMAGE",
        value_name = "IMAGE",
        default_value = concat!("ghcr.io/ws-dev/agent:", env!("CARGO_PKG_VERSION"))
    )]
    pub agent_image: String,

    /// How long the cluster may take to enforce the network policy of a new pod
    #[arg(long, env = "WS_ISOLATION_DEADLINE", value_name = "TIME", default_value = "60s")]
    pub isolation_deadline: kube::core::Duration,

    /// The API server as pods would dial it; in a cluster it is known
    #[arg(long, env = "WS_API_SERVER", value_name = "ADDRESS:PORT")]
    pub api_server: Option<SocketAddr>,

    /// Address for /livez, /readyz and /metrics
    #[arg(long, env = "WS_ADMIN", value_name = "ADDRESS:PORT", default_value = "[::]:9090")]
    pub admin: SocketAddr,

    /// Name of this replica among the others; its host's name if left out
    #[arg(long, env = "WS_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Lead without an election: for a single replica that nobody runs beside
    #[arg(long)]
    pub no_leader_election: bool,
}
