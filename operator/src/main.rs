//! `ws-operator`: makes a contained pod of each Workspace, keeps its network policy, says how it fares, and ends it on time.
//!
//! ```text
//!  watches ─▶ caches ─▶ reconcile: lifecycle ─▶ validate ─▶ build ─▶ apply ─▶ status
//!                 └───▶ policy keeper: judge ─▶ repair, or end what is no longer contained
//! ```

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use kube::Config;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;
use ws_api::definitions;
use ws_runtime::admin::{self, Readiness};

use crate::{
    args::{Args, Command, Run},
    build::Installation,
    controller::Parts,
    leader::Candidate,
    metrics::Metrics,
    user_ca::UserCa,
};

mod apply;
mod args;
mod build;
mod caches;
mod controller;
mod error;
mod fresh;
mod leader;
mod lifecycle;
mod metrics;
mod nodes;
mod policy;
mod reason;
mod reconcile;
mod status;
#[cfg(test)]
mod testing;
mod text;
mod user_ca;
mod validate;

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Crd => print_crds(),
        Command::Run(args) => {
            ws_runtime::init_logging();
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(*args))
        }
    }
}

fn print_crds() -> anyhow::Result<()> {
    let texts: Vec<_> = definitions().iter().map(serde_yaml::to_string).collect::<Result<_, _>>()?;
    std::io::stdout().write_all(texts.join("---\n").as_bytes()).context("could not write the definitions")
}

async fn run(args: Run) -> anyhow::Result<()> {
    let Run {
        namespace,
        stock_images,
        agent_image,
        isolation_deadline,
        api_server,
        admin: admin_address,
        identity,
        no_leader_election,
    } = args;
    ensure!(!isolation_deadline.is_negative(), "an isolation deadline cannot be negative");
    let api_server = api_server
        .or_else(service_of_the_api_server)
        .context("where pods would find the API server is not known here; say it with --api-server")?;
    let identity = identity.unwrap_or_else(host_name);
    let shutdown = ws_runtime::shutdown_signal().context("could not wait for signals")?;

    let config = Config::infer().await.context("found neither a service account nor a kubeconfig")?;
    let client = ws_connect::client(config.clone()).context("could not make a client")?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let readiness = Readiness::default();
    let starting = readiness.block("the API server");
    let listener = TcpListener::bind(admin_address)
        .await
        .with_context(|| format!("could not listen on {admin_address}"))?;
    let admin = tokio::spawn(admin::serve(listener, readiness.clone(), registry, shutdown.clone()));

    let user_ca = tokio::select! {
        user_ca = UserCa::load_or_create(&client, &namespace) => user_ca?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let installation = Installation {
        namespace: namespace.clone(),
        user_ca: user_ca.public().context("could not write the CA's public key")?,
        api_server,
        stock_images,
        agent_image,
        isolation_deadline: isolation_deadline.into(),
    };
    let parts = Parts { client, installation, user_ca, metrics, readiness, identity: identity.clone() };
    drop(starting);
    if no_leader_election {
        controller::run(parts, shutdown.clone()).await;
    } else {
        let candidate = Candidate::new(config, &namespace, &identity).await?;
        lead(&candidate, parts, &shutdown).await?;
    }
    shutdown.cancel();
    admin.await.context("the admin endpoint broke off")
}

/// Runs the controller while this replica leads. That it no longer does is an error: the process starts anew as a candidate.
async fn lead(candidate: &Candidate, parts: Parts, shutdown: &CancellationToken) -> anyhow::Result<()> {
    info!("waiting for the lease");
    tokio::select! {
        () = candidate.lead() => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    tokio::select! {
        () = controller::run(parts, shutdown.clone()) => {}
        () = candidate.lose() => anyhow::bail!("another replica leads"),
    }
    candidate.release().await;
    Ok(())
}

/// The Service that the kubelet tells every container of.
fn service_of_the_api_server() -> Option<SocketAddr> {
    let variable = |name| std::env::var(name).ok();
    let address: IpAddr = variable("KUBERNETES_SERVICE_HOST")?.parse().ok()?;
    Some(SocketAddr::new(address, variable("KUBERNETES_SERVICE_PORT")?.parse().ok()?))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
