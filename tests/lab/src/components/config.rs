//! The components' configuration files, as values: only the fields that differ from what a component does by itself.

mod audit;
mod containerd;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Settings;
use crate::certificates::NODE_NAME;
use crate::{cgroups, hosts, network, paths};

/// The names of the files below [`paths::RUN`].
pub const CONTAINERD: &str = "containerd.toml";
pub const AUDIT: &str = "audit.json";
pub const HOSTS_DNS: &str = "hosts.Corefile";
pub const HOSTS_WEB: &str = "hosts.nginx.conf";
pub const KUBELET: &str = "kubelet.json";
pub const KUBE_PROXY: &str = "kube-proxy.json";
/// The folder with the pods' network configuration.
pub const CNI: &str = "cni";

const RESOLV_CONF: &str = "resolv.conf";
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Writes all of them.
pub fn write_all(settings: &Settings) -> Result<()> {
    fs::create_dir_all(paths::run(CNI)).context("creating the CNI folder")?;
    let containerd =
        toml::to_string(&containerd::Config::new(settings)).context("writing containerd's settings")?;
    write(CONTAINERD, &containerd)?;
    write_json(AUDIT, &audit::Policy::writes())?;
    write_json(KUBELET, &Kubelet::new(settings))?;
    write_json(KUBE_PROXY, &KubeProxy::new())?;
    write_json(&format!("{CNI}/10-pods.conflist"), &PodNetwork::new())?;
    write(HOSTS_DNS, &hosts::dns())?;
    write(HOSTS_WEB, &hosts::web(settings))?;
    write(RESOLV_CONF, &format!("nameserver {}\n", network::DNS_SERVICE))
}

fn write_json(name: &str, value: &impl Serialize) -> Result<()> {
    write(name, &serde_json::to_string_pretty(value).with_context(|| format!("writing {name}"))?)
}

fn write(name: &str, text: &str) -> Result<()> {
    let path = paths::run(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// `KubeletConfiguration` of `kubelet.config.k8s.io/v1beta1`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kubelet {
    api_version: &'static str,
    kind: &'static str,
    address: IpAddr,
    healthz_bind_address: IpAddr,
    authentication: Authentication,
    authorization: Authorization,
    tls_cert_file: PathBuf,
    tls_private_key_file: PathBuf,
    container_runtime_endpoint: String,
    cgroup_driver: &'static str,
    cgroup_root: String,
    /// The lab runs where only version 1 is to be had, too.
    #[serde(rename = "failCgroupV1")]
    fail_cgroup_v1: bool,
    fail_swap_on: bool,
    cluster_domain: &'static str,
    #[serde(rename = "clusterDNS")]
    cluster_dns: [IpAddr; 1],
    resolv_conf: PathBuf,
    pod_logs_dir: PathBuf,
    volume_plugin_dir: PathBuf,
    pod_pids_limit: u32,
    max_pods: u32,
    /// Images of the lab cannot be pulled again: 100 turns their collection off.
    #[serde(rename = "imageGCHighThresholdPercent")]
    image_gc_high_threshold_percent: u8,
    eviction_hard: BTreeMap<&'static str, &'static str>,
    serialize_image_pulls: bool,
    node_status_update_frequency: &'static str,
}

#[derive(Debug, Serialize)]
struct Authentication {
    anonymous: Enabled,
    webhook: Enabled,
    x509: ClientAuthority,
}

#[derive(Debug, Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientAuthority {
    #[serde(rename = "clientCAFile")]
    client_ca_file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Authorization {
    mode: &'static str,
}

impl Kubelet {
    fn new(settings: &Settings) -> Self {
        Self {
            api_version: "kubelet.config.k8s.io/v1beta1",
            kind: "KubeletConfiguration",
            address: network::NODE_ADDRESS.into(),
            healthz_bind_address: LOOPBACK.into(),
            authentication: Authentication {
                anonymous: Enabled { enabled: false },
                webhook: Enabled { enabled: true },
                x509: ClientAuthority { client_ca_file: settings.pki.path("ca.crt") },
            },
            authorization: Authorization { mode: "Webhook" },
            tls_cert_file: settings.pki.path("kubelet-server.crt"),
            tls_private_key_file: settings.pki.path("kubelet-server.key"),
            container_runtime_endpoint: format!("unix://{}", paths::containerd_socket().display()),
            cgroup_driver: "cgroupfs",
            cgroup_root: format!("/{}", cgroups::TREE),
            fail_cgroup_v1: false,
            fail_swap_on: false,
            cluster_domain: "cluster.local",
            cluster_dns: [network::DNS_SERVICE.into()],
            resolv_conf: paths::run(RESOLV_CONF),
            pod_logs_dir: paths::var("pod-logs"),
            volume_plugin_dir: paths::var("volume-plugins"),
            pod_pids_limit: 1024,
            max_pods: 250,
            image_gc_high_threshold_percent: 100,
            // Absolute, because the disk is shared with the rest of the machine.
            eviction_hard: BTreeMap::from([
                ("imagefs.available", "2Gi"),
                ("memory.available", "200Mi"),
                ("nodefs.available", "2Gi"),
            ]),
            serialize_image_pulls: false,
            node_status_update_frequency: "4s",
        }
    }
}

/// `KubeProxyConfiguration` of `kubeproxy.config.k8s.io/v1alpha1`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeProxy {
    api_version: &'static str,
    kind: &'static str,
    mode: &'static str,
    client_connection: ClientConnection,
    #[serde(rename = "clusterCIDR")]
    cluster_cidr: String,
    hostname_override: &'static str,
    bind_address: IpAddr,
    healthz_bind_address: String,
    metrics_bind_address: String,
    conntrack: Conntrack,
}

#[derive(Debug, Serialize)]
struct ClientConnection {
    kubeconfig: PathBuf,
}

/// Zeros: leave the machine's table as it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Conntrack {
    max_per_core: u32,
    min: u32,
}

impl KubeProxy {
    fn new() -> Self {
        Self {
            api_version: "kubeproxy.config.k8s.io/v1alpha1",
            kind: "KubeProxyConfiguration",
            mode: "nftables",
            client_connection: ClientConnection { kubeconfig: paths::run("kube-proxy.kubeconfig") },
            cluster_cidr: network::pod_network().to_string(),
            hostname_override: NODE_NAME,
            bind_address: network::NODE_ADDRESS.into(),
            healthz_bind_address: format!("{LOOPBACK}:10256"),
            metrics_bind_address: format!("{LOOPBACK}:10249"),
            conntrack: Conntrack { max_per_core: 0, min: 0 },
        }
    }
}

/// A CNI network configuration list, version 1.0.0.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodNetwork {
    cni_version: &'static str,
    name: &'static str,
    plugins: (BridgePlugin, PortMapPlugin),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BridgePlugin {
    r#type: &'static str,
    bridge: &'static str,
    is_gateway: bool,
    ip_masq: bool,
    hairpin_mode: bool,
    ipam: HostLocal,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HostLocal {
    r#type: &'static str,
    data_dir: PathBuf,
    ranges: [[Range; 1]; 1],
    routes: [Route; 1],
}

#[derive(Debug, Serialize)]
struct Range {
    subnet: String,
}

#[derive(Debug, Serialize)]
struct Route {
    dst: &'static str,
}

#[derive(Debug, Serialize)]
struct PortMapPlugin {
    r#type: &'static str,
    backend: &'static str,
    capabilities: BTreeMap<&'static str, bool>,
}

impl PodNetwork {
    fn new() -> Self {
        Self {
            cni_version: "1.0.0",
            name: "pods",
            plugins: (
                BridgePlugin {
                    r#type: "bridge",
                    bridge: network::BRIDGE,
                    is_gateway: true,
                    ip_masq: false,
                    hairpin_mode: true,
                    ipam: HostLocal {
                        r#type: "host-local",
                        data_dir: paths::run("addresses"),
                        ranges: [[Range { subnet: network::pod_network().to_string() }]],
                        routes: [Route { dst: "0.0.0.0/0" }],
                    },
                },
                PortMapPlugin {
                    r#type: "portmap",
                    backend: "nftables",
                    capabilities: BTreeMap::from([("portMappings", true)]),
                },
            ),
        }
    }
}

/// Fields that a path in a command line or file needs as text.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::tests::settings;

    #[test]
    fn every_file_is_what_the_component_reads() {
        let settings = settings();
        insta::assert_yaml_snapshot!("kubelet", Kubelet::new(&settings));
        insta::assert_yaml_snapshot!("kube_proxy", KubeProxy::new());
        insta::assert_yaml_snapshot!("pod_network", PodNetwork::new());
        insta::assert_snapshot!("containerd", toml::to_string(&containerd::Config::new(&settings)).unwrap());
    }
}
