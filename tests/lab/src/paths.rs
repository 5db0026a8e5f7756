//! Where the lab keeps its files. Two places live only as long as a lab; the cache outlives it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Sockets, the state file, certificates and configuration: gone after `lab down`.
pub const RUN: &str = "/run/ws-lab";
/// What the cluster writes (etcd, the kubelet's pods): gone after `lab down`.
pub const VAR: &str = "/var/lib/ws-lab";
/// Held for as long as a command changes the lab. Outside of [`RUN`], because that folder comes and goes.
pub const LOCK: &str = "/run/lock/ws-lab.lock";

/// A path below [`RUN`].
pub fn run(name: &str) -> PathBuf {
    Path::new(RUN).join(name)
}

/// A path below [`VAR`].
pub fn var(name: &str) -> PathBuf {
    Path::new(VAR).join(name)
}

/// The admin's kubeconfig.
pub fn kubeconfig() -> PathBuf {
    run("admin.kubeconfig")
}

/// Everything that reached the sinks of the lab's networks, one JSON object a line.
pub fn sinks() -> PathBuf {
    run("sinks.jsonl")
}

/// Every request that the internet's web server got, one JSON object a line.
pub fn hosts() -> PathBuf {
    run("hosts.jsonl")
}

/// Every request that the internet's providers of models got, one JSON object a line.
pub fn models() -> PathBuf {
    run("models.jsonl")
}

/// Every frame that the internet's host got that converses, one JSON object a line.
pub fn talks() -> PathBuf {
    run("talks.jsonl")
}

/// Every request that changed something on the API server, one JSON object a line.
pub fn audit() -> PathBuf {
    run("audit.jsonl")
}

/// containerd's socket.
pub fn containerd_socket() -> PathBuf {
    run("containerd/containerd.sock")
}

/// The folder of this crate, which holds the pins, the manifests and the `Containerfile`s of the lab itself.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    sources().join("../..").components().collect()
}

/// What is kept between labs, for one user.
#[derive(Debug, Clone)]
pub struct Cache(PathBuf);

impl Cache {
    /// `$XDG_CACHE_HOME/ws-lab`, or `~/.cache/ws-lab`.
    pub fn locate() -> Result<Self> {
        let base = match env::var_os("XDG_CACHE_HOME") {
            Some(folder) if !folder.is_empty() => PathBuf::from(folder),
            Some(_) | None => {
                env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache")
            }
        };
        Ok(Self(base.join("ws-lab")))
    }

    /// Binaries built from one set of pins.
    pub fn tools(&self, pins: &str) -> PathBuf {
        self.0.join(pins)
    }

    /// Image archives and what they were built from.
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// containerd's root: image content and unpacked layers.
    pub fn containerd(&self) -> PathBuf {
        self.0.join("containerd")
    }

    /// The components' logs, of the running lab or of the last one.
    pub fn logs(&self) -> PathBuf {
        self.0.join("log")
    }

    /// A lock file for one kind of work in the cache.
    pub fn lock(&self, work: &str) -> PathBuf {
        self.0.join(format!("{work}.lock"))
    }
}
