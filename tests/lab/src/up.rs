//! `lab up`: from nothing to a ready node with policies enforced.

mod launcher;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::build::{self, Binaries};
use crate::certificates::Pki;
use crate::cluster::Cluster;
use crate::components::{self, Component, Components, Settings, config};
use crate::containerd::Containerd;
use crate::enforcement::Enforcement;
use crate::lock::Lock;
use crate::paths::{self, Cache};
use crate::pins::Selection;
use crate::progress::Progress;
use crate::state::State;
use crate::{cgroups, down, hosts, images, kubeconfig, network, sysctls};
use launcher::Launcher;

const ENFORCER_MANIFEST: &str = include_str!("../manifests/enforcer.yaml");
const DNS_MANIFEST: &str = include_str!("../manifests/dns.yaml");

/// What a kubelet and containerd make outside of the lab's own folders, whatever their settings.
const OUTSIDE: [&str; 6] = [
    "/run/containerd",
    "/run/nri",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

/// Starts a lab, unless the same one runs already. What an earlier one left behind is removed first; when a step
/// fails, everything is taken down again and only the logs stay.
pub async fn run(enforcement: Enforcement, progress: Progress) -> Result<()> {
    let parts = Parts::ensure(&progress)?;
    let lock = Lock::acquire(Path::new(paths::LOCK), "command that changes the lab", &progress)?;
    parts.start(&lock, enforcement, progress).await
}

/// What a lab is made of, ready to be started.
#[derive(Debug, Clone)]
pub struct Parts {
    cache: Cache,
    binaries: Binaries,
    archives: Vec<images::Archive>,
}

impl Parts {
    /// Builds and installs what is missing.
    pub fn ensure(progress: &Progress) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("a lab needs root: it makes network namespaces, mounts and cgroups");
        }
        let cache = Cache::locate()?;
        let binaries = build::ensure(&cache, Selection::Lab, progress)?;
        let archives = images::ensure_own(&cache, &binaries, progress)?;
        Ok(Self { cache, binaries, archives })
    }

    /// As [`run`], for whoever holds the lab's lock already.
    pub async fn start(&self, _held: &Lock, enforcement: Enforcement, progress: Progress) -> Result<()> {
        if is_running(enforcement)? {
            progress.note("the lab is up already");
            return Ok(());
        }
        if cgroups::others_exist() {
            bail!(
                "another kubelet has pods on this machine (cgroup kubepods); stop it first: two cannot share /var/lib/kubelet"
            );
        }
        down::clear(&progress)?;
        let settings = Settings {
            containerd: self.cache.containerd(),
            pki: Pki::at(paths::run("pki")),
            lab: components::THIS_PROGRAM.into(),
            binaries: self.binaries.clone(),
            enforcement,
        };
        let started = start(&settings, &self.cache, &self.archives, &progress).await;
        if started.is_err() {
            progress.note("the start failed; taking the lab down");
            down::clear(&progress)?;
        }
        started
    }
}

/// Whether a lab with this treatment of policies is complete and alive.
fn is_running(enforcement: Enforcement) -> Result<bool> {
    Ok(State::load()?.is_some_and(|state| {
        state.ready && state.enforcement == enforcement && state.alive().count() == state.processes.len()
    }))
}

async fn start(
    settings: &Settings,
    cache: &Cache,
    archives: &[images::Archive],
    progress: &Progress,
) -> Result<()> {
    let mut launcher = prepare(settings, cache, progress)?;
    let Components {
        sinks,
        hosts,
        containerd,
        etcd,
        api_server,
        kubelet,
        controller_manager,
        scheduler,
        proxy,
        enforcer,
    } = Components::new(settings);
    for component in [&containerd, &etcd, &api_server].into_iter().chain(&sinks).chain(&hosts) {
        launcher.start(component)?;
    }
    let runtime = Containerd::new(&settings.binaries);
    launcher.until(&containerd, "containerd answers", async || runtime.answers()).await?;
    images::load(&runtime, &settings.containerd, archives, progress)?;
    launcher.start(&kubelet)?;

    let cluster = Cluster::connect(&paths::kubeconfig()).await?;
    launcher.until(&api_server, "the API server is ready", async || cluster.serves().await).await?;
    // Only now: before, their permissions are not there, and the controller manager would end.
    for component in [&controller_manager, &scheduler, &proxy] {
        launcher.start(component)?;
    }
    if let Some(enforcer) = &enforcer {
        enforce(enforcer, &mut launcher, &cluster).await?;
    }
    launcher.until(&kubelet, "the node is ready", async || cluster.node_is_ready().await).await?;
    sysctls::restore(&launcher.state().sysctls)?;
    launcher
        .until(&controller_manager, "pods can be created", async || cluster.has_default_account().await)
        .await?;
    cluster.apply(DNS_MANIFEST).await?;
    launcher.finish()?;
    progress.note(&format!("up; KUBECONFIG={}", paths::kubeconfig().display()));
    Ok(())
}

/// Has policies in force before there is any pod.
async fn enforce(enforcer: &Component, launcher: &mut Launcher, cluster: &Cluster) -> Result<()> {
    cluster.apply(ENFORCER_MANIFEST).await?;
    launcher.start(enforcer)?;
    let ready = components::enforcer_ready_file();
    launcher.until(enforcer, "policies are enforced", async || ready.exists()).await
}

/// Files and networks: everything that comes before the first process.
fn prepare(settings: &Settings, cache: &Cache, progress: &Progress) -> Result<Launcher> {
    for folder in [Path::new(paths::RUN), Path::new(paths::VAR), &cache.logs(), &cache.containerd()] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let state = State {
        enforcement: settings.enforcement,
        binaries: settings.binaries.folder().to_owned(),
        containerd: Some(settings.containerd.clone()),
        sysctls: sysctls::remember(),
        created: OUTSIDE.iter().map(PathBuf::from).filter(|path| !path.exists()).collect(),
        ..State::default()
    };
    let launcher = Launcher::begin(state, cache.logs(), *progress)?;
    network::create()?;
    cgroups::create()?;
    let pki = Pki::create(&paths::run("pki"))?;
    kubeconfig::write_all(Path::new(paths::RUN), &pki)?;
    config::write_all(settings)?;
    fs::write(paths::sinks(), "").context("creating the log of the sinks")?;
    hosts::prepare()?;
    progress.note("networks, certificates and settings are made");
    Ok(launcher)
}
