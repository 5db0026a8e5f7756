//! The watches and what they trigger. Wiring only.

use std::{fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    networking::v1::NetworkPolicy,
    node::v1::RuntimeClass,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        Config, Controller, WatchStreamExt as _, controller,
        events::{Recorder, Reporter},
        reflector::{self, store::Writer},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use ws_api::{MANAGED_BY, MANAGED_BY_LABEL, class::WorkspaceClass, gateway, workspace::Workspace};

use crate::{
    build::Installation,
    caches::{Caches, WorkspaceRef, prune_class, prune_node, prune_pod, prune_policy, prune_workspace},
    error::chain,
    fresh::Fresh,
    metrics::Metrics,
    policy::{Scope, keeper::Keeper},
    reconcile::{Context, error_policy, reconcile},
    user_ca::UserCa,
};

/// Reconciles at a time. Each does a handful of requests; the API server's priority and fairness does the rest.
const CONCURRENCY: u16 = 64;
/// Workspaces whose isolation is breached and that have not been queued yet; the keeper waits beyond.
const AFFECTED: usize = 1024;

const DNS_NAMESPACE: &str = "kube-system";
const DNS_SERVICE: &str = "kube-dns";

/// What the controller is given.
pub struct Parts {
    pub client: Client,
    pub installation: Installation,
    pub user_ca: UserCa,
    pub metrics: Metrics,
    /// This process, among the operator's replicas.
    pub identity: String,
}

/// Runs until `shutdown`; reconciles that have begun are finished.
pub async fn run(parts: Parts, shutdown: CancellationToken) {
    let Parts { client, installation, user_ca, metrics, identity } = parts;
    let namespace = installation.namespace.clone();
    let (seen, listed) = watch::channel(0);
    let (caches, writers) = stores(listed);
    let (affected, breached) = mpsc::channel(AFFECTED);
    let keeper =
        Arc::new(Keeper::new(client.clone(), caches.clone(), namespace.clone(), metrics.clone(), affected));
    let reporter = Reporter { controller: "ws-operator".into(), instance: Some(identity) };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client: client.clone(),
        caches: caches.clone(),
        keeper: Arc::clone(&keeper),
        installation: Arc::new(installation),
        user_ca,
        fresh: Fresh::default(),
        metrics,
    });

    let tasks = TaskTracker::new();
    let Writers { workspaces, pods, gateway, rest } = writers;
    watch_the_rest(rest, &client, &seen, &keeper, &tasks, &shutdown);
    tasks.spawn(keep(Arc::clone(&keeper), caches.clone(), shutdown.clone()));
    tasks.close();

    let gateways = Api::namespaced(client.clone(), &namespace);
    let gateways = fill(gateways, named(gateway::NAME), gateway, &seen, |_| ()).touched_objects();
    Controller::for_stream(
        workspaces_watch(&client, workspaces, &seen, &context).applied_objects(),
        caches.workspaces.clone(),
    )
    .owns_stream(pods_watch(&client, pods, &seen, &keeper).touched_objects())
    .watches_stream(gateways, move |_| caches.waiting_workspaces())
    .reconcile_on(stream::unfold(breached, |mut breached| async { Some((breached.recv().await?, breached)) }))
    .with_config(Config::default().concurrency(CONCURRENCY))
    .graceful_shutdown_on(shutdown.clone().cancelled_owned())
    .run(reconcile, error_policy, context)
    .for_each(async |outcome| log(outcome))
    .await;
    shutdown.cancel();
    tasks.wait().await;
}

/// The writing ends of the stores.
struct Writers {
    workspaces: Writer<DeserializeGuard<Workspace>>,
    pods: Writer<Pod>,
    gateway: Writer<Service>,
    rest: Rest,
}

/// Those whose watches trigger no workspace by themselves.
struct Rest {
    classes: Writer<DeserializeGuard<WorkspaceClass>>,
    policies: Writer<NetworkPolicy>,
    cluster_dns: Writer<Service>,
    nodes: Writer<Node>,
    runtime_classes: Writer<RuntimeClass>,
}

fn stores(listed: watch::Receiver<usize>) -> (Caches, Writers) {
    let (workspaces_reader, workspaces) = reflector::store();
    let (classes_reader, classes) = reflector::store();
    let (pods_reader, pods) = reflector::store();
    let (policies_reader, policies) = reflector::store();
    let (gateway_reader, gateway) = reflector::store();
    let (cluster_dns_reader, cluster_dns) = reflector::store();
    let (nodes_reader, nodes) = reflector::store();
    let (runtime_classes_reader, runtime_classes) = reflector::store();
    let caches = Caches {
        workspaces: workspaces_reader,
        classes: classes_reader,
        pods: pods_reader,
        policies: policies_reader,
        gateway: gateway_reader,
        cluster_dns: cluster_dns_reader,
        nodes: nodes_reader,
        runtime_classes: runtime_classes_reader,
        listed,
    };
    let rest = Rest { classes, policies, cluster_dns, nodes, runtime_classes };
    (caches, Writers { workspaces, pods, gateway, rest })
}

/// A watch that fills a store and starts again for ever, later and later. Counts itself in `seen` after its first list.
fn fill<K>(
    api: Api<K>,
    config: watcher::Config,
    writer: Writer<K>,
    seen: &watch::Sender<usize>,
    prune: impl FnMut(&mut K) + Send + 'static,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut first = Some(seen.clone());
    watcher(api, config).default_backoff().modify(prune).reflect(writer).inspect_ok(move |event| {
        if let watcher::Event::InitDone = event
            && let Some(seen) = first.take()
        {
            seen.send_modify(|listed| *listed += 1);
        }
    })
}

fn named(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

fn workspaces_watch(
    client: &Client,
    writer: Writer<DeserializeGuard<Workspace>>,
    seen: &watch::Sender<usize>,
    context: &Arc<Context>,
) -> impl Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<Workspace>>>> + Send + 'static {
    let context = Arc::clone(context);
    let watch = fill(Api::all(client.clone()), watcher::Config::default(), writer, seen, prune_workspace);
    watch.inspect_ok(move |event| match event {
        watcher::Event::Delete(workspace) => {
            context.fresh.forget(&workspace.uid().unwrap_or_default());
            context.keeper.mark(context.caches.scopes(workspace.namespace().as_deref()));
        }
        watcher::Event::InitDone => context.keeper.policies_listed(),
        watcher::Event::Apply(_) | watcher::Event::Init | watcher::Event::InitApply(_) => {}
    })
}

fn pods_watch(
    client: &Client,
    writer: Writer<Pod>,
    seen: &watch::Sender<usize>,
    keeper: &Arc<Keeper>,
) -> impl Stream<Item = watcher::Result<watcher::Event<Pod>>> + Send + 'static {
    let keeper = Arc::clone(keeper);
    let config = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let watch = fill(Api::all(client.clone()), config, writer, seen, prune_pod);
    watch.inspect_ok(move |event| match event {
        watcher::Event::Apply(pod) | watcher::Event::Delete(pod) => keeper.mark(Scope::of(pod)),
        watcher::Event::InitDone => keeper.policies_listed(),
        watcher::Event::Init | watcher::Event::InitApply(_) => {}
    })
}

fn watch_the_rest(
    writers: Rest,
    client: &Client,
    seen: &watch::Sender<usize>,
    keeper: &Arc<Keeper>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let Rest { classes, policies, cluster_dns, nodes, runtime_classes } = writers;
    let all = watcher::Config::default;
    let dns = Api::namespaced(client.clone(), DNS_NAMESPACE);
    let keeper = Arc::clone(keeper);
    let policies =
        fill(Api::all(client.clone()), all(), policies, seen, prune_policy).inspect_ok(move |event| {
            match event {
                watcher::Event::Apply(policy) | watcher::Event::Delete(policy) => {
                    keeper.policy_touched(policy);
                }
                watcher::Event::InitDone => keeper.policies_listed(),
                watcher::Event::Init | watcher::Event::InitApply(_) => {}
            }
        });
    tasks.spawn(drive(policies, shutdown.clone()));
    tasks.spawn(drive(fill(Api::all(client.clone()), all(), classes, seen, prune_class), shutdown.clone()));
    tasks.spawn(drive(fill(dns, named(DNS_SERVICE), cluster_dns, seen, |_| ()), shutdown.clone()));
    tasks.spawn(drive(fill(Api::all(client.clone()), all(), nodes, seen, prune_node), shutdown.clone()));
    let runtime_classes = fill(Api::all(client.clone()), all(), runtime_classes, seen, |_| ());
    tasks.spawn(drive(runtime_classes, shutdown.clone()));
}

async fn drive<T>(watch: impl Stream<Item = watcher::Result<T>>, shutdown: CancellationToken) {
    watch
        .take_until(shutdown.cancelled_owned())
        .for_each(|event| {
            if let Err(error) = event {
                warn!(error = %chain(&error), "a watch broke off and starts again");
            }
            std::future::ready(())
        })
        .await;
}

/// Keeps policies once everything has been seen: before, nothing would seem to need any.
async fn keep(keeper: Arc<Keeper>, caches: Caches, shutdown: CancellationToken) {
    let ready = tokio::select! {
        ready = caches.ready() => ready.is_ok(),
        () = shutdown.cancelled() => false,
    };
    if ready {
        keeper.run(shutdown).await;
    }
}

fn log(
    outcome: Result<
        (WorkspaceRef, controller::Action),
        controller::Error<crate::error::Error, watcher::Error>,
    >,
) {
    match outcome {
        Ok((workspace, action)) => debug!(%workspace, ?action, "reconciled"),
        // Deleted since it was queued, or told by the error policy.
        Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Err(error) => warn!(error = %chain(&error), "a trigger broke off"),
    }
}
