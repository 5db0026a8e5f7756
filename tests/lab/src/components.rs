//! The programs of a lab and their command lines: one typed list.

pub mod config;

use std::path::PathBuf;

use crate::build::Binaries;
use crate::certificates::{NODE_NAME, Pki};
use crate::enforcement::Enforcement;
use crate::{hosts, network, paths};
use config::text;

/// The image that keeps a pod's namespaces.
pub const PAUSE_IMAGE: &str = "localhost/ws-lab/pause:1";
/// The image of the cluster's DNS server.
pub const COREDNS_IMAGE: &str = "localhost/ws-lab/coredns:1";

/// The program that runs now, for components that are subcommands of it: also when a new build has replaced its file.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// What the command lines depend on.
#[derive(Debug, Clone)]
pub struct Settings {
    pub binaries: Binaries,
    /// containerd's root.
    pub containerd: PathBuf,
    pub pki: Pki,
    pub enforcement: Enforcement,
    /// This program, which serves the sinks and the policies as well.
    pub lab: PathBuf,
}

/// One program of the lab.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Component {
    pub name: &'static str,
    /// The network namespace it runs in.
    pub network: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// All of them. Where they are started, this is taken apart without `..`, so none is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Components {
    pub sinks: [Component; 3],
    pub hosts: [Component; 5],
    pub containerd: Component,
    pub etcd: Component,
    pub api_server: Component,
    pub kubelet: Component,
    pub controller_manager: Component,
    pub scheduler: Component,
    pub proxy: Component,
    /// `None`: the lab runs without.
    pub enforcer: Option<Component>,
}

impl Components {
    /// The components of one lab.
    pub fn new(settings: &Settings) -> Self {
        Self {
            sinks: sinks(settings),
            hosts: hosts(settings),
            containerd: containerd(settings),
            etcd: etcd(settings),
            api_server: api_server(settings),
            kubelet: kubelet(settings),
            controller_manager: controller_manager(settings),
            scheduler: scheduler(settings),
            proxy: proxy(settings),
            enforcer: enforcer(settings),
        }
    }
}

/// The file that appears when policies are enforced.
pub fn enforcer_ready_file() -> PathBuf {
    paths::run("enforcer.ready")
}

fn on_node(settings: &Settings, name: &'static str, arguments: Vec<String>) -> Component {
    Component { name, network: network::NODE, program: settings.binaries.path(name), arguments }
}

/// `--name=value` for each pair.
fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn kubeconfig(name: &str) -> String {
    text(&paths::run(&format!("{name}.kubeconfig")))
}

fn sinks(settings: &Settings) -> [Component; 3] {
    let sink = |name, network, place: &str, addresses: &[String]| {
        let mut arguments = vec!["internet".to_owned()];
        arguments.extend(flags([("place", place.to_owned()), ("log", text(&paths::sinks()))]));
        arguments.extend(addresses.iter().map(|address| format!("--address={address}")));
        Component { name, network, program: settings.lab.clone(), arguments }
    };
    let any = ["::".to_owned()];
    [
        sink("internet", network::INTERNET, "internet", &any),
        sink("company", network::COMPANY, "company", &any),
        // On the node, only the metadata addresses: the rest of its ports are its own.
        sink(
            "metadata",
            network::NODE,
            "metadata",
            &network::METADATA_ADDRESSES.map(|address| address.to_string()),
        ),
    ]
}

/// Debian's own, for which its packages are: another may come first on the `PATH`.
const PYTHON: &str = "/usr/bin/python3";

fn hosts(settings: &Settings) -> [Component; 5] {
    let host = |name, program, arguments: &[&str]| Component {
        name,
        network: network::HOSTS,
        program,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
    };
    let run = |name| text(&paths::run(name));
    let server = |name, program: &str, script, port: u16, log: PathBuf| {
        let (port, log) = (port.to_string(), text(&log));
        host(name, program.into(), &[&run(script), "--port", &port, "--log", &log])
    };
    [
        host("hosts-dns", settings.binaries.path("coredns"), &["-conf", &run(config::HOSTS_DNS)]),
        host("hosts-git", "fcgiwrap".into(), &["-s", &format!("unix:{}", run(hosts::GIT_SOCKET))]),
        host("hosts-web", "nginx".into(), &["-c", &run(config::HOSTS_WEB)]),
        server("hosts-models", "python3", hosts::MODELS, hosts::MODELS_PORT, paths::models()),
        server("hosts-talk", PYTHON, hosts::TALK, hosts::TALK_PORT, paths::talks()),
    ]
}

fn containerd(settings: &Settings) -> Component {
    on_node(settings, "containerd", flags([("config", text(&paths::run(config::CONTAINERD)))]))
}

fn etcd(settings: &Settings) -> Component {
    let pki = |name| text(&settings.pki.path(name));
    let (clients, peers) = ("https://127.0.0.1:2379".to_owned(), "http://127.0.0.1:2380".to_owned());
    let mut arguments = flags([
        ("name", "lab".to_owned()),
        ("data-dir", text(&paths::var("etcd"))),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("listen-peer-urls", peers.clone()),
        ("initial-advertise-peer-urls", peers.clone()),
        ("initial-cluster", format!("lab={peers}")),
        ("cert-file", pki("etcd.crt")),
        ("key-file", pki("etcd.key")),
        ("trusted-ca-file", pki("etcd-ca.crt")),
        ("log-level", "warn".to_owned()),
    ]);
    // A lab does not outlive the machine's power, so there is nothing to sync for.
    arguments.extend(["--client-cert-auth", "--unsafe-no-fsync"].map(str::to_owned));
    on_node(settings, "etcd", arguments)
}

fn api_server(settings: &Settings) -> Component {
    let pki = |name| text(&settings.pki.path(name));
    let mut arguments = flags([
        ("etcd-servers", "https://127.0.0.1:2379".to_owned()),
        ("etcd-cafile", pki("etcd-ca.crt")),
        ("etcd-certfile", pki("etcd-client.crt")),
        ("etcd-keyfile", pki("etcd-client.key")),
        ("bind-address", network::NODE_ADDRESS.to_string()),
        ("secure-port", "6443".to_owned()),
        ("advertise-address", network::NODE_ADDRESS.to_string()),
        ("service-cluster-ip-range", network::service_network().to_string()),
        ("allow-privileged", "true".to_owned()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("audit-policy-file", text(&paths::run(config::AUDIT))),
        ("audit-log-path", text(&paths::audit())),
        ("client-ca-file", pki("ca.crt")),
        ("tls-cert-file", pki("kube-apiserver.crt")),
        ("tls-private-key-file", pki("kube-apiserver.key")),
    ]);
    arguments.extend(flags([
        ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("kubelet-certificate-authority", pki("ca.crt")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", pki("service-accounts.pub")),
        ("service-account-signing-key-file", pki("service-accounts.key")),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("requestheader-allowed-names", "front-proxy-client".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("proxy-client-cert-file", pki("front-proxy-client.crt")),
        ("proxy-client-key-file", pki("front-proxy-client.key")),
    ]));
    on_node(settings, "kube-apiserver", arguments)
}

fn kubelet(settings: &Settings) -> Component {
    let arguments = flags([
        ("config", text(&paths::run(config::KUBELET))),
        ("kubeconfig", kubeconfig("kubelet")),
        ("root-dir", text(&paths::var("kubelet"))),
        ("cert-dir", text(&paths::var("kubelet-pki"))),
        ("hostname-override", NODE_NAME.to_owned()),
        ("node-ip", network::NODE_ADDRESS.to_string()),
    ]);
    on_node(settings, "kubelet", arguments)
}

/// Flags that the controller manager and the scheduler share.
fn control_loop(name: &str) -> Vec<String> {
    flags([
        ("kubeconfig", kubeconfig(name)),
        ("authentication-kubeconfig", kubeconfig(name)),
        ("authorization-kubeconfig", kubeconfig(name)),
        ("bind-address", "127.0.0.1".to_owned()),
        ("leader-elect", "false".to_owned()),
    ])
}

fn controller_manager(settings: &Settings) -> Component {
    let pki = |name| text(&settings.pki.path(name));
    let mut arguments = control_loop("kube-controller-manager");
    arguments.extend(flags([
        // Its usual 20 requests a second cost five seconds of a start.
        ("kube-api-qps", "300".to_owned()),
        ("kube-api-burst", "600".to_owned()),
        ("root-ca-file", pki("ca.crt")),
        ("service-account-private-key-file", pki("service-accounts.key")),
        ("use-service-account-credentials", "true".to_owned()),
        ("cluster-signing-cert-file", pki("ca.crt")),
        ("cluster-signing-key-file", pki("ca.key")),
    ]));
    on_node(settings, "kube-controller-manager", arguments)
}

fn scheduler(settings: &Settings) -> Component {
    on_node(settings, "kube-scheduler", control_loop("kube-scheduler"))
}

fn proxy(settings: &Settings) -> Component {
    on_node(settings, "kube-proxy", flags([("config", text(&paths::run(config::KUBE_PROXY)))]))
}

fn enforcer(settings: &Settings) -> Option<Component> {
    let delay = match settings.enforcement {
        Enforcement::On => None,
        Enforcement::Slow(delay) => Some(delay),
        Enforcement::Off => return None,
    };
    let mut arguments = vec!["enforcer".to_owned()];
    arguments.extend(flags([
        ("kubeconfig", kubeconfig("enforcer")),
        ("node", NODE_NAME.to_owned()),
        ("pod-network", network::pod_network().to_string()),
        ("bridge", network::BRIDGE.to_owned()),
        ("ready-file", text(&enforcer_ready_file())),
    ]));
    arguments.extend(delay.map(|delay| format!("--delay-ms={}", delay.as_millis())));
    Some(Component { name: "enforcer", network: network::NODE, program: settings.lab.clone(), arguments })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::time::Duration;

    /// Settings with paths that are the same on every machine.
    pub fn settings() -> Settings {
        Settings {
            binaries: Binaries::at("/cache/pins/bin"),
            containerd: "/cache/containerd".into(),
            pki: Pki::at("/run/ws-lab/pki"),
            enforcement: Enforcement::Slow(Duration::from_millis(1500)),
            lab: "/lab".into(),
        }
    }

    #[test]
    fn the_command_lines_of_a_lab() {
        insta::assert_yaml_snapshot!(Components::new(&settings()));
    }

    #[test]
    fn a_lab_without_enforcement_starts_no_enforcer() {
        let settings = Settings { enforcement: Enforcement::Off, ..settings() };
        assert_eq!(Components::new(&settings).enforcer, None);
    }
}
