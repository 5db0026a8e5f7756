//! The watches and what they trigger. Wiring only.

use std::{fmt::Debug, future::pending, sync::Arc};

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
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use ws_api::{MANAGED_BY, MANAGED_BY_LABEL, class::WorkspaceClass, gateway, workspace::Workspace};
use ws_runtime::admin::{BlockReady, Readiness};

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

/// What a watch sees.
type Seen<K> = watcher::Result<watcher::Event<K>>;

/// What the controller is given.
pub struct Parts {
    pub client: Client,
    pub installation: Installation,
    pub user_ca: UserCa,
    pub metrics: Metrics,
    pub readiness: Readiness,
    /// This process, among the operator's replicas.
    pub identity: String,
}

/// Runs until `shutdown`; reconciles that have begun are finished.
pub async fn run(parts: Parts, shutdown: CancellationToken) {
    let Parts { client, installation, user_ca, metrics, readiness, identity } = parts;
    let namespace = installation.namespace.clone();
    let (seen, listed) = watch::channel(0);
    let (caches, writers) = stores(listed, shutdown.clone());
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
    let Writers { workspaces, pods: pods_writer, gateway, rest } = writers;
    watch_the_rest(rest, &client, &seen, &keeper, &tasks, &shutdown);
    let starting = readiness.block("the watches");
    tasks.spawn(keep(Arc::clone(&keeper), caches.clone(), starting, shutdown.clone()));
    tasks.close();

    let gateways = Api::namespaced(client.clone(), &namespace);
    let gateways = fill(watched(gateways, named(gateway::NAME)), gateway, &seen, |_| ()).touched_objects();
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
    let relisted = Arc::new(Notify::new());
    let pods = watched(Api::all(client.clone()), ours);
    let pods = pods_watch(pods, pods_writer, &seen, &keeper, &relisted);
    let waiting = caches.clone();
    let control = Controller::for_stream(
        workspaces_watch(&client, workspaces, &seen, &context).applied_objects(),
        caches.workspaces.clone(),
    )
    .owns_stream(pods.touched_objects())
    .watches_stream(gateways, move |_| waiting.waiting_workspaces())
    .reconcile_on(stream::unfold(breached, |mut breached| async { Some((breached.recv().await?, breached)) }))
    .reconcile_on(bereft(relisted, caches.clone()))
    .with_config(Config::default().concurrency(CONCURRENCY))
    .graceful_shutdown_on(shutdown.clone().cancelled_owned())
    .run(reconcile, error_policy, context)
    .for_each(async |outcome| log(outcome));
    tokio::select! {
        () = control => {}
        // kube's controller does not end before its first list. Nothing has begun before all of them.
        () = stopped_unready(&caches) => {}
    }
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

fn stores(listed: watch::Receiver<usize>, shutdown: CancellationToken) -> (Caches, Writers) {
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
        shutdown,
    };
    let rest = Rest { classes, policies, cluster_dns, nodes, runtime_classes };
    (caches, Writers { workspaces, pods, gateway, rest })
}

/// A watch that starts again for ever, later and later.
fn watched<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Seen<K>> + Send + 'static
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(api, config).default_backoff()
}

/// Fills a store with what a watch sees. Counts it in `seen` after its first list.
fn fill<K>(
    watch: impl Stream<Item = Seen<K>> + Send + 'static,
    writer: Writer<K>,
    seen: &watch::Sender<usize>,
    prune: impl FnMut(&mut K) + Send + 'static,
) -> impl Stream<Item = Seen<K>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut first = Some(seen.clone());
    watch.modify(prune).reflect(writer).inspect_ok(move |event| {
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
) -> impl Stream<Item = Seen<DeserializeGuard<Workspace>>> + Send + 'static {
    let context = Arc::clone(context);
    let watch = watched(Api::all(client.clone()), watcher::Config::default());
    fill(watch, writer, seen, prune_workspace).inspect_ok(move |event| match event {
        watcher::Event::Delete(workspace) => {
            context.fresh.forget(&workspace.uid().unwrap_or_default());
            context.keeper.mark(context.caches.scopes(workspace.namespace().as_deref()));
        }
        watcher::Event::InitDone => context.keeper.policies_listed(),
        watcher::Event::Apply(_) | watcher::Event::Init | watcher::Event::InitApply(_) => {}
    })
}

fn pods_watch(
    watch: impl Stream<Item = Seen<Pod>> + Send + 'static,
    writer: Writer<Pod>,
    seen: &watch::Sender<usize>,
    keeper: &Arc<Keeper>,
    relisted: &Arc<Notify>,
) -> impl Stream<Item = Seen<Pod>> + Send + 'static {
    let (keeper, relisted) = (Arc::clone(keeper), Arc::clone(relisted));
    fill(watch, writer, seen, prune_pod).inspect_ok(move |event| match event {
        watcher::Event::Apply(pod) | watcher::Event::Delete(pod) => keeper.mark(Scope::of(pod)),
        watcher::Event::InitDone => {
            keeper.policies_listed();
            relisted.notify_one();
        }
        watcher::Event::Init | watcher::Event::InitApply(_) => {}
    })
}

/// After each list of the pods, the workspaces whose pod is not in it: one that is deleted between two watches is told by no
/// event.
fn bereft(relisted: Arc<Notify>, caches: Caches) -> impl Stream<Item = WorkspaceRef> + Send + 'static {
    let lists = stream::unfold(relisted, |relisted| async {
        relisted.notified().await;
        Some(((), relisted))
    });
    lists.flat_map(move |()| stream::iter(caches.workspaces_without_their_pod()))
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
    let policies = fill(watched(Api::all(client.clone()), all()), policies, seen, prune_policy).inspect_ok(
        move |event| match event {
            watcher::Event::Apply(policy) | watcher::Event::Delete(policy) => {
                keeper.policy_touched(policy);
            }
            watcher::Event::InitDone => keeper.policies_listed(),
            watcher::Event::Init | watcher::Event::InitApply(_) => {}
        },
    );
    tasks.spawn(drive(policies, shutdown.clone()));
    let classes = fill(watched(Api::all(client.clone()), all()), classes, seen, prune_class);
    tasks.spawn(drive(classes, shutdown.clone()));
    let cluster_dns = fill(watched(dns, named(DNS_SERVICE)), cluster_dns, seen, |_| ());
    tasks.spawn(drive(cluster_dns, shutdown.clone()));
    let nodes = fill(watched(Api::all(client.clone()), all()), nodes, seen, prune_node);
    tasks.spawn(drive(nodes, shutdown.clone()));
    let runtime_classes = fill(watched(Api::all(client.clone()), all()), runtime_classes, seen, |_| ());
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

/// Returns if the operator stops before everything has been seen.
async fn stopped_unready(caches: &Caches) {
    if caches.ready().await {
        pending::<()>().await;
    }
}

/// Keeps policies once everything has been seen: before, nothing would seem to need any.
async fn keep(keeper: Arc<Keeper>, caches: Caches, starting: BlockReady, shutdown: CancellationToken) {
    if caches.ready().await {
        drop(starting);
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

#[cfg(test)]
mod tests;
