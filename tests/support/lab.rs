//! The running lab, as `lab status --json` describes it.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Deserialize;
use tokio::process::Command;

use crate::{
    command::{Output, run, run_with_input},
    spelling,
};

/// Where `helm install` and the manifests put ws.
const WS_NAMESPACE: &str = "ws-system";
/// Selects the gateways' pods there.
pub const GATEWAYS: &str = "app.kubernetes.io/name=ws-gateway";

const LIMIT: Duration = Duration::from_mins(1);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lab {
    /// All components run and the node is ready.
    ready: bool,
    /// Folder of kubectl, helm and the other programs that the lab built.
    binaries: PathBuf,
    kubeconfig: PathBuf,
    /// What reached the sinks of the fake internet and of the company network, one JSON object a line.
    sinks: PathBuf,
    /// What the fake internet's web server was asked, one JSON object a line.
    hosts: PathBuf,
    /// What the fake internet's providers of models were asked, one JSON object a line.
    models: PathBuf,
    /// What the fake internet's host got that converses by `WebSockets`, one JSON object a line.
    talks: PathBuf,
    /// Folder of the components' logs.
    logs: PathBuf,
    /// containerd's root.
    containerd: PathBuf,
    /// The API server's log of all requests that change something, one JSON object a line.
    audit: PathBuf,
    pub addresses: Addresses,
}

/// One line of the sinks' log: a connection that was opened, or what came on one or in a datagram.
#[derive(Debug, Deserialize)]
pub struct Arrival {
    /// Milliseconds since 1970.
    at: u128,
    place: String,
    pub protocol: String,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    connection: u64,
    hex: Option<String>,
}

/// One line of the log of the providers of models.
#[derive(Debug, Deserialize)]
pub struct ModelRequest {
    /// When it was answered, in seconds since 1970.
    pub at: f64,
    pub host: String,
    /// The request line.
    pub request: String,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// One line of the log of the host that converses: a frame of a WebSocket, or what one was opened with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    conversation: u64,
    /// `open`, `text`, `binary`, `cont`, `ping` and so on.
    pub kind: String,
    /// Of its message.
    pub is_last: bool,
    hex: String,
    /// What was asked for, where it is `open`.
    pub path: Option<String>,
    /// What was offered with that.
    pub extensions: Option<String>,
}

impl Frame {
    /// What it carries.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&decoded(&self.hex).collect::<Vec<_>>()).into_owned()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    pub machine: String,
    pub node: String,
    pub dns: String,
    /// Networks in which every address answers.
    pub internet: Vec<String>,
    /// A network in which every address answers.
    pub company: String,
    pub metadata: Vec<String>,
}

impl Lab {
    /// The lab that runs; fails if none does.
    pub async fn running() -> Result<Self> {
        let output = run(lab_command(&["status", "--json"])?, LIMIT).await?.ok()?;
        let lab: Self = serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())?;
        ensure!(lab.ready, "the lab does not run: `make lab` starts it");
        Ok(lab)
    }

    /// What the fake internet's web server was asked for below this path, the first first.
    pub fn asked(&self, path: &str) -> Result<Vec<serde_json::Value>> {
        let log = fs::read(&self.hosts).context("reading what the hosts were asked")?;
        // Bodies may be anything: git compresses its own.
        let log = String::from_utf8_lossy(&log);
        let requests =
            log.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
        let is_below = |request: &serde_json::Value| {
            request["request"]
                .as_str()
                .and_then(|line| line.split(' ').nth(1))
                .is_some_and(|url| url.starts_with(path))
        };
        Ok(requests.into_iter().filter(is_below).collect())
    }

    /// What the fake internet's providers of models were asked in a conversation in which `marker` is said, the first first.
    pub fn asked_of_models(&self, marker: &str) -> Result<Vec<ModelRequest>> {
        let log = fs::read_to_string(&self.models).context("reading what the models were asked")?;
        // The last line may be half written.
        let requests = log.lines().filter_map(|line| serde_json::from_str::<ModelRequest>(line).ok());
        Ok(requests.filter(|request| request.body.contains(marker)).collect())
    }

    /// What the fake internet's host that converses got in each conversation in which `marker` is said or asked for.
    pub fn heard(&self, marker: &str) -> Result<Vec<Vec<Frame>>> {
        let log = fs::read_to_string(&self.talks).context("reading what the host heard that converses")?;
        let mut conversations: BTreeMap<u64, Vec<Frame>> = BTreeMap::new();
        // The last line may be half written.
        for frame in log.lines().filter_map(|line| serde_json::from_str::<Frame>(line).ok()) {
            conversations.entry(frame.conversation).or_default().push(frame);
        }
        let has_marker = |frame: &Frame| {
            frame.text().contains(marker) || frame.path.as_ref().is_some_and(|path| path.contains(marker))
        };
        Ok(conversations.into_values().filter(|frames| frames.iter().any(has_marker)).collect())
    }

    /// The log of the fake internet's DNS server: a line for each name that somebody asked for.
    pub fn resolved(&self) -> Result<String> {
        fs::read_to_string(self.logs.join("hosts-dns.log")).context("reading which names were asked for")
    }

    /// Runs `lab` itself.
    pub async fn command(arguments: &[&str], limit: Duration) -> Result<Output> {
        run(lab_command(arguments)?, limit).await
    }

    /// One of this repository's programs, built beside this test.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        built(name)
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn ws_namespace(&self) -> &'static str {
        WS_NAMESPACE
    }

    /// A client with the rights of the cluster's admin.
    pub async fn client(&self) -> Result<Client> {
        let config = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        Ok(ws_connect::client(config)?)
    }

    /// One of the programs that the lab built from upstream's sources.
    pub fn program_path(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// kubectl as the cluster's admin.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program_path("kubectl"));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        run(self.kubectl_command(arguments), LIMIT).await
    }

    /// `kubectl … -f -` with this manifest.
    pub async fn kubectl_with(&self, arguments: &[&str], manifest: &str) -> Result<Output> {
        run_with_input(self.kubectl_command(arguments), manifest.as_bytes().to_vec(), LIMIT).await
    }

    /// What an object, such as `pod/name`, says in these fields, such as `{.status.phase}`
    /// ([JSONPath](https://kubernetes.io/docs/reference/kubectl/jsonpath/)); nothing for those that it lacks.
    pub async fn fields(&self, namespace: &str, object: &str, fields: &str) -> Result<String> {
        let template = format!("jsonpath={fields}");
        Ok(self.kubectl(&["-n", namespace, "get", object, "-o", &template]).await?.ok()?.stdout)
    }

    /// The image of the default class's workspaces.
    pub async fn workspace_image(&self) -> Result<String> {
        let get = ["get", "workspaceclass", "default", "-o", "jsonpath={.spec.image}"];
        Ok(self.kubectl(&get).await?.ok()?.stdout)
    }

    pub async fn helm(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.program_path("helm"));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        run(command, 3 * LIMIT).await
    }

    /// The writable and read-only layers of all containers.
    pub fn snapshots(&self) -> PathBuf {
        self.containerd.join("io.containerd.snapshotter.v1.overlayfs/snapshots")
    }

    /// Everything that has been changed on the API server so far.
    pub fn audit(&self) -> Result<String> {
        fs::read_to_string(&self.audit).with_context(|| self.audit.display().to_string())
    }

    /// Every byte that has reached a sink so far, in the order of each connection.
    pub fn sunk(&self) -> Result<String> {
        self.sunk_from(|_| true)
    }

    /// As [`Lab::sunk`], of senders with these addresses.
    pub fn sunk_from(&self, is_sender: impl Fn(IpAddr) -> bool) -> Result<String> {
        let mut connections: BTreeMap<(String, u64), Vec<u8>> = BTreeMap::new();
        for arrival in self.arrivals(UNIX_EPOCH, is_sender)? {
            let bytes = connections.entry((arrival.place, arrival.connection)).or_default();
            bytes.extend(decoded(&arrival.hex.unwrap_or_default()));
        }
        Ok(connections.into_values().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect())
    }

    /// Every connection that was opened to a sink since then, with all that came on it, and every datagram, of senders with these
    /// addresses.
    pub fn arrivals(&self, since: SystemTime, is_sender: impl Fn(IpAddr) -> bool) -> Result<Vec<Arrival>> {
        let since = since.duration_since(UNIX_EPOCH)?.as_millis();
        let log = fs::read_to_string(&self.sinks).with_context(|| self.sinks.display().to_string())?;
        // The last line may be half written.
        let arrivals = log.lines().filter_map(|line| serde_json::from_str::<Arrival>(line).ok());
        let counts = |arrival: &Arrival| arrival.at >= since && is_sender(arrival.peer.ip().to_canonical());
        Ok(arrivals.filter(counts).collect())
    }

    /// Whether a sink got this, in whatever spelling.
    pub fn has_sunk(&self, text: &str) -> Result<bool> {
        Ok(spelling::holds(&self.sunk()?, text))
    }

    /// Whether somebody asked for a name with this in it, in whatever spelling, also over several labels.
    pub fn has_resolved(&self, text: &str) -> Result<bool> {
        let resolved = self.resolved()?;
        Ok(spelling::holds(&resolved, text) || spelling::holds(&resolved.replace('.', ""), text))
    }

    /// The addresses of these pods.
    pub async fn addresses_of(&self, namespace: &str, selector: &[&str]) -> Result<Vec<IpAddr>> {
        let get = [&["-n", namespace, "get", "pods", "-o", "jsonpath={.items[*].status.podIP}"], selector];
        let addresses = self.kubectl(&get.concat()).await?.ok()?.stdout;
        Ok(addresses.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }

    /// The addresses of the gateways. Fails if there is none: that nothing came from it would prove nothing.
    pub async fn gateways(&self) -> Result<Vec<IpAddr>> {
        let gateways = self.addresses_of(self.ws_namespace(), &["-l", GATEWAYS]).await?;
        ensure!(!gateways.is_empty(), "no gateway has an address");
        Ok(gateways)
    }
}

fn decoded(hex: &str) -> impl Iterator<Item = u8> {
    hex.as_bytes().chunks(2).filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
}

fn lab_command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(built("lab")?);
    command.args(arguments);
    Ok(command)
}

/// A program in the folder that cargo builds into, which is the one above this test's own.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut folders = own.ancestors().skip(1);
    let program = folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()));
    program.with_context(|| format!("`{name}` is not built: `make tools` builds it"))
}
