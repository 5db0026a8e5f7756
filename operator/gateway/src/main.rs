//! Wires the gateway together, runs it until a signal, and ends it in order: requests, then their records.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser as _;
use kube::{
    Api, Config,
    api::{ApiResource, DynamicObject, ListParams},
    runtime::watcher,
};
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    sync::watch::channel,
};
use tokio_util::sync::CancellationToken;
use tracing::info;
use ws_api::{CLASS_LABEL, class::WorkspaceClass, workspace::Workspace};
use ws_gateway::{
    args::Args,
    audit::Audit,
    authority::Authority,
    body::Room,
    canary,
    credentials::Credentials,
    freshness,
    metrics::Metrics,
    policies::Policies,
    proxy::{BODIES, Proxy},
    report::Reports,
    sessions::Sessions,
    trust,
    upstream::{Resolve, Upstream},
    watch::{self, Classes, Pods, Workspaces},
};
use ws_policy::addresses::Special;
use ws_runtime::{
    admin::{self, Readiness},
    init_logging, shutdown_signal,
};

const REPORT_DEADLINE: Duration = Duration::from_secs(5);
/// Connections that may wait to be accepted, so that all workspaces may begin at once: the usual 128 are not enough, and a client whose
/// connection finds no place is reset. The kernel has a bound of its own (`net.core.somaxconn`).
const BACKLOG: u32 = 4_096;
/// Tasks that a worker goes on with before it looks at its sockets: with one or two workers, the usual 61 make some requests wait long.
const EVENT_INTERVAL: u32 = 16;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    init_logging();
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .event_interval(EVENT_INTERVAL)
        .enable_all()
        .build();
    runtime.context("cannot start")?.block_on(async {
        let shutdown = shutdown_signal().context("cannot listen for signals")?;
        Box::pin(run(args, shutdown)).await
    })
}

/// One for two processors: most of the work is the kernel's, which does it in whoever sends, and more workers wake one another more
/// often than they help.
fn workers() -> usize {
    thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

async fn run(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Args { bind, proxy_port, canary_port, admin_port, namespace, trusted_cas, forbidden_networks } = args;
    let [proxy_listener, canary_listener, admin_listener] = [
        listen(bind, proxy_port, "proxy")?,
        listen(bind, canary_port, "canary")?,
        listen(bind, admin_port, "admin")?,
    ];
    let config = Config::infer().await.context("cannot tell where the cluster is")?;
    let client = ws_connect::client(config).context("cannot make a client of the API server")?;

    let metrics = Metrics::default();
    let mut registry = Registry::with_prefix("ws_gateway");
    metrics.register(&mut registry);
    let readiness = Readiness::default();
    let [no_pods, no_classes, no_workspaces] =
        ["pods", "classes", "workspaces"].map(|kind| readiness.block(kind));
    let authority = Authority::load_or_create(&client, &namespace).await?;
    let resolve = Resolve::from_system(Special::with(forbidden_networks)).context("cannot resolve names")?;
    let services = resolve.of_services(Special::of_nodes());
    let (index, sessions) = channel(Sessions::default());
    let (judge, policies) = channel(Policies::default());
    let audit = Audit::start(io::stdout(), metrics.clone()).context("cannot start the audit log")?;
    let reports =
        Reports::new(client.clone(), sessions.clone(), metrics.clone()).vouched_by(authority.certificate());
    let proxy = Proxy {
        sessions,
        policies,
        upstream: Upstream::new(resolve, services, trust::outside(trusted_cas.as_deref())?),
        credentials: Credentials::new(client.clone(), &namespace),
        authority: Arc::new(authority),
        room: Room::of(BODIES),
        reports: reports.clone(),
        audit: audit.clone(),
        metrics: metrics.clone(),
    };

    // The admin endpoint and the watch outlive the requests that are still being answered.
    let drained = CancellationToken::new();
    let requests = async {
        tokio::join!(
            proxy.serve(proxy_listener, shutdown.clone()),
            canary::serve(canary_listener, metrics.clone(), shutdown.clone()),
        );
        tokio::join!(reports.close(REPORT_DEADLINE), audit.close());
        drained.cancel();
    };
    let pods = watcher::Config::default().labels(CLASS_LABEL);
    let all = watcher::Config::default();
    let (classes, workspaces) =
        (ApiResource::erase::<WorkspaceClass>(&()), ApiResource::erase::<Workspace>(&()));
    let classes = Api::<DynamicObject>::all_with(client.clone(), &classes);
    let workspaces = Api::<DynamicObject>::all_with(client.clone(), &workspaces);
    let newest = classes.clone();
    let answers = async move || newest.list_metadata(&ListParams::default().limit(1)).await.map(drop);
    tokio::join!(
        requests,
        freshness::keep(answers, judge.clone(), drained.clone()),
        admin::serve(admin_listener, readiness, registry, drained.clone()),
        watch::run::<Pods>(Api::all(client), pods, index, metrics.clone(), no_pods, drained.clone()),
        watch::run::<Classes>(
            classes,
            all.clone(),
            judge.clone(),
            metrics.clone(),
            no_classes,
            drained.clone()
        ),
        watch::run::<Workspaces>(workspaces, all, judge, metrics.clone(), no_workspaces, drained.clone()),
    );
    Ok(())
}

fn listen(bind: IpAddr, port: u16, what: &'static str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(bind, port);
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let listener = listening().with_context(|| format!("cannot listen on {address}, the {what} port"))?;
    info!(address = %listener.local_addr()?, "listens on the {what} port");
    Ok(listener)
}
