//! Where the proxies stand: the node's network, with a web server in the fake internet's.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use ws_tests::{
    command::run,
    lab::Lab,
    wait::{PATIENCE, eventually},
};

use crate::load::{HTTP_PORT, HTTPS_PORT, Job, Measured, SOURCE_NETWORK};

const NODE: &str = "ws-node";
const INTERNET: &str = "ws-hosts";
/// Where the lab's web server is; the one here has other ports.
const WEB: Ipv4Addr = Ipv4Addr::new(20, 0, 114, 80);
/// The fake internet's DNS.
const NAMES: Ipv4Addr = Ipv4Addr::new(20, 0, 114, 53);
/// Bytes of what is downloaded.
pub(super) const DOWNLOAD: u32 = 256 << 20;
/// Where files are memory: a disk would be slower than every proxy.
const MEMORY: &str = "/dev/shm";
const SMALL: usize = 1 << 10;
const LIMIT: Duration = Duration::from_mins(5);

/// Runs a program with this resolver and as many files as it wants.
const START: &str = r#"ulimit -n "$(ulimit -Hn)" && mount --bind "$0" /etc/resolv.conf && exec "$@""#;

pub(super) struct Stage {
    folder: TempDir,
    _sites: TempDir,
    pub(super) node: Ipv4Addr,
    /// PEM file of the authority of the fake internet's hosts.
    pub(super) hosts_authority: PathBuf,
    _web: Child,
}

/// Scales the operator and the gateways down: the operator would make pods of the workspaces here.
pub(super) async fn stop_ws(lab: &Lab) -> Result<()> {
    let namespace = lab.ws_namespace();
    lab.kubectl(&["-n", namespace, "scale", "deployment", "--all", "--replicas=0"]).await?.ok()?;
    lab.kubectl(&["-n", namespace, "wait", "pod", "--all", "--for=delete", "--timeout=60s"])
        .await?
        .ok()
        .map(drop)
}

impl Stage {
    pub(super) async fn set(lab: &Lab, greetings: &[u8]) -> Result<Self> {
        let (folder, sites) = (TempDir::new()?, TempDir::new_in(MEMORY)?);
        // Every address of the network that the load comes from is the node's.
        let route = ["-n", NODE, "route", "replace", "local", SOURCE_NETWORK, "dev", "lo"];
        let mut ip = Command::new("ip");
        ip.args(route);
        run(ip, LIMIT).await?.ok()?;
        fs::write(folder.path().join("resolv.conf"), format!("nameserver {NAMES}\n"))?;
        let run_folder = lab.kubeconfig().parent().context("the lab has a folder")?;
        let web = start_web(folder.path(), sites.path(), &run_folder.join("pki"))?;
        // Squid is nobody.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let hosts_authority = folder.path().join("hosts-ca.crt");
        fs::copy(run_folder.join("pki/hosts-ca.crt"), &hosts_authority)?;
        let stage =
            Self { node: lab.addresses.node.parse()?, folder, _sites: sites, hosts_authority, _web: web };
        fs::write(stage.greetings(), greetings)?;
        Ok(stage)
    }

    /// File with what connections to the gateway begin with.
    pub(super) fn greetings(&self) -> PathBuf {
        self.path("greetings")
    }

    /// The web server itself.
    pub(super) fn web(is_https: bool) -> SocketAddr {
        (WEB, if is_https { HTTPS_PORT } else { HTTP_PORT }).into()
    }

    /// A file in the folder of this run.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program in the node's network, with what it says in files.
    pub(super) fn start(
        &self,
        name: &str,
        program: &Path,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> Result<Child> {
        let [stdout, stderr] =
            ["out", "err"].map(|end| fs::File::create(self.path(&format!("{name}.{end}"))));
        let mut command = self.within_the_node(program);
        command.args(arguments).envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(stdout?).stderr(stderr?).kill_on_drop(true);
        command.spawn().with_context(|| name.to_owned())
    }

    fn within_the_node(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{NODE}")).args(["unshare", "--mount", "sh", "-c", START]);
        command.arg(self.path("resolv.conf")).arg(program);
        command
    }

    /// A process that does this job.
    pub(super) fn load(&self, job: &Job) -> Result<Command> {
        let mut command = self.within_the_node(&std::env::current_exe()?);
        command.args(["load", &serde_json::to_string(job)?]);
        Ok(command)
    }

    /// Does a job; a few of very many requests may fail.
    pub(super) async fn measure(&self, job: &Job) -> Result<Measured> {
        let output = run(self.load(job)?, LIMIT).await?.ok()?;
        let measured: Measured =
            serde_json::from_str(&output.stdout).with_context(|| output.stdout.clone())?;
        ensure!(measured.failures * 1_000 <= measured.requests, "{job:?}: {measured:?}");
        Ok(measured)
    }

    /// Waits until something listens there.
    pub(super) async fn answers(&self, address: SocketAddr) -> Result<()> {
        eventually(PATIENCE, "somebody who listens", async || {
            anyhow::Ok(TcpStream::connect(address).await.is_ok().then_some(()))
        })
        .await
    }
}

/// nginx with the lab's certificate, and without the lab's log of all that it gets.
fn start_web(folder: &Path, root: &Path, pki: &Path) -> Result<Child> {
    fs::write(root.join("small"), "x".repeat(SMALL))?;
    fs::File::create(root.join("large"))?.set_len(DOWNLOAD.into())?;
    let (folder, root, pki) = (folder.display(), root.display(), pki.display());
    let temporary =
        ["proxy", "fastcgi", "uwsgi", "scgi"].map(|what| format!("{what}_temp_path {folder}/{what};"));
    let settings = format!(
        "user root;\ndaemon off;\nmaster_process off;\nerror_log stderr;\npid {folder}/nginx.pid;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000;\n  client_max_body_size 0;\n  {temporary}\n  client_body_temp_path {root}/body;\n\
         server {{\n  listen {WEB}:{HTTP_PORT};\n  listen {WEB}:{HTTPS_PORT} ssl http2;\n  server_name _;\n  root {root};\n\
         ssl_certificate {pki}/hosts.crt;\n  ssl_certificate_key {pki}/hosts.key;\n  default_type application/octet-stream;\n\
         location /taken/ {{ dav_methods PUT; create_full_put_path on; }}\n}}\n}}\n",
        temporary = temporary.join("\n  "),
    );
    let file = Path::new(&folder.to_string()).join("nginx.conf");
    fs::write(&file, settings)?;
    let mut nginx = Command::new("nsenter");
    nginx.arg(format!("--net=/run/netns/{INTERNET}")).args(["nginx", "-c"]).arg(file);
    nginx.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().context("nginx")
}
