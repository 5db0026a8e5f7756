//! containerd's configuration, version 3.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::super::Settings;
use crate::components::PAUSE_IMAGE;
use crate::paths;

/// The file; `plugins` are keyed by their type and name.
#[derive(Debug, Serialize)]
pub struct Config {
    version: u8,
    root: PathBuf,
    state: PathBuf,
    /// Nobody uses them here, and they would leave folders of their own behind.
    disabled_plugins: [&'static str; 2],
    grpc: Grpc,
    plugins: Plugins,
}

#[derive(Debug, Serialize)]
struct Grpc {
    address: PathBuf,
}

#[derive(Debug, Serialize)]
struct Plugins {
    #[serde(rename = "io.containerd.cri.v1.images")]
    images: Images,
    #[serde(rename = "io.containerd.cri.v1.runtime")]
    runtime: Runtime,
    #[serde(rename = "io.containerd.internal.v1.opt")]
    opt: Opt,
}

#[derive(Debug, Serialize)]
struct Images {
    snapshotter: &'static str,
    pinned_images: PinnedImages,
}

#[derive(Debug, Serialize)]
struct PinnedImages {
    sandbox: &'static str,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "these are containerd's own fields")]
struct Runtime {
    disable_apparmor: bool,
    /// The lab works without the capability to lower `oom_score_adj`.
    restrict_oom_score_adj: bool,
    disable_hugetlb_controller: bool,
    /// Pods' network namespaces go where the lab cleans up.
    netns_mounts_under_state_dir: bool,
    containerd: Handlers,
    cni: Cni,
}

#[derive(Debug, Serialize)]
struct Handlers {
    default_runtime_name: &'static str,
    runtimes: BTreeMap<&'static str, Handler>,
}

#[derive(Debug, Serialize)]
struct Handler {
    runtime_type: &'static str,
    options: RuncOptions,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuncOptions {
    binary_name: PathBuf,
    root: PathBuf,
    systemd_cgroup: bool,
}

#[derive(Debug, Serialize)]
struct Cni {
    bin_dirs: [PathBuf; 1],
    conf_dir: PathBuf,
}

#[derive(Debug, Serialize)]
struct Opt {
    path: PathBuf,
}

impl Config {
    /// The settings of one lab.
    pub fn new(settings: &Settings) -> Self {
        let runc = Handler {
            runtime_type: "io.containerd.runc.v2",
            options: RuncOptions {
                binary_name: settings.binaries.path("runc"),
                root: paths::run("runc"),
                systemd_cgroup: false,
            },
        };
        Self {
            version: 3,
            root: settings.containerd.clone(),
            state: paths::run("containerd"),
            disabled_plugins: ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"],
            grpc: Grpc { address: paths::containerd_socket() },
            plugins: Plugins {
                images: Images {
                    snapshotter: "overlayfs",
                    pinned_images: PinnedImages { sandbox: PAUSE_IMAGE },
                },
                runtime: Runtime {
                    disable_apparmor: true,
                    restrict_oom_score_adj: true,
                    disable_hugetlb_controller: true,
                    netns_mounts_under_state_dir: true,
                    containerd: Handlers {
                        default_runtime_name: "runc",
                        runtimes: BTreeMap::from([("runc", runc)]),
                    },
                    cni: Cni {
                        bin_dirs: [settings.binaries.folder().to_owned()],
                        conf_dir: paths::run(super::CNI),
                    },
                },
                opt: Opt { path: paths::run("containerd-opt") },
            },
        }
    }
}
