//! The loop that brings the rules in step with the cluster.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher,
};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tracing::{error, info};

use crate::{
    Args,
    cluster::Cluster,
    cni::Results,
    gate::Gate,
    link::Link,
    nft,
    ready::ReadyFile,
    ruleset::{Network, render},
    watch::Watch,
};

/// Events come in bursts: wait so long for the rest of one.
const BURST: Duration = Duration::from_millis(5);

/// How soon to try again after rules could not be loaded.
const RETRY: Duration = Duration::from_secs(1);

/// Enforces until SIGTERM; the rules stay in force afterwards.
///
/// To be run in the node's network namespace, as root.
///
/// # Errors
/// When it cannot begin (no `br_netfilter`, no `nft`, an unusable kubeconfig) or CNI's results are gone. What fails
/// later and may heal is logged, withdraws the ready file and is tried again.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let network = args.network();
    let ready = ReadyFile::new(args.ready_file.clone()).context("could not withdraw the ready file")?;
    nft::prepare_node()?;
    if !nft::is_loaded().await? {
        nft::load(&render(&Cluster::default(), &network)?).await?;
    }
    let mut results = Results::watch(args.cni_results.clone(), &network.bridge, network.pods)?;
    let changed = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    let watches = Watches::start(&mut tasks, client(&args).await?, &args.node, &changed);
    let mut enforcer = Enforcer {
        watches,
        network,
        gate: Gate::new(args.delay()),
        ready,
        begun: false,
        enforced: String::new(),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut links = results.links()?;
    loop {
        let next = enforcer.step(&links).await;
        select! {
            _ = terminate.recv() => return Ok(()),
            () = changed.notified() => (),
            told = results.changed() => {
                told?;
                links = results.links()?;
            }
            () = at(next) => (),
        }
        sleep(BURST).await;
    }
}

async fn client(args: &Args) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // A watch that waits silently for its next try would count as live.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Waits until a moment that may never come.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

struct Watches {
    pods: Watch<Pod>,
    namespaces: Watch<Namespace>,
    policies: Watch<NetworkPolicy>,
}

impl Watches {
    fn start(tasks: &mut JoinSet<()>, client: Client, node: &str, changed: &Arc<Notify>) -> Self {
        let of_this_node = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let all = watcher::Config::default;
        Self {
            pods: Watch::start(tasks, Api::all(client.clone()), of_this_node, Arc::clone(changed)),
            namespaces: Watch::start(tasks, Api::all(client.clone()), all(), Arc::clone(changed)),
            policies: Watch::start(tasks, Api::all(client), all(), Arc::clone(changed)),
        }
    }

    fn are_live(&self) -> bool {
        self.pods.is_live() && self.namespaces.is_live() && self.policies.is_live()
    }
}

struct Enforcer {
    watches: Watches,
    network: Network,
    gate: Gate,
    ready: ReadyFile,
    /// Whether there ever was a complete view: until then the rules of an earlier run stay.
    begun: bool,
    enforced: String,
}

impl Enforcer {
    /// Brings the rules in step once; says when to come again if nothing changes until then.
    async fn step(&mut self, links: &[Link]) -> Option<Instant> {
        // In this order: then the policies are at least as new as the pods, or the watches are not live.
        let pods = self.watches.pods.objects();
        let live = self.watches.are_live();
        self.begun |= live;
        if !self.begun {
            return None;
        }
        let now = Instant::now();
        let admitted = self.gate.admit(&pods, links, live, now);
        let cluster = Cluster {
            pods: admitted.pods,
            namespaces: self.watches.namespaces.objects(),
            policies: self.watches.policies.objects(),
        };
        let enforced = self.enforce(&cluster).await;
        let in_force = enforced.is_ok();
        let told = self.ready.set(live && in_force).context("could not write the ready file");
        match enforced.and(told) {
            Ok(()) => admitted.next,
            Err(error) => {
                error!("policies are not in force: {error:#}");
                Some(now + RETRY)
            }
        }
    }

    async fn enforce(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        let ruleset = render(cluster, &self.network)?;
        if ruleset != self.enforced {
            nft::load(&ruleset).await?;
            info!(
                pods = cluster.pods.len(),
                policies = cluster.policies.len(),
                bytes = ruleset.len(),
                "rules loaded"
            );
            self.enforced = ruleset;
        }
        Ok(())
    }
}
