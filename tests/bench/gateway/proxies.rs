//! The gateway and its rivals, each as its documentation says, with a log of what was asked for and nothing kept.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use ws_tests::{
    command::{Output, run},
    lab::Lab,
    wait::{PATIENCE, eventually},
};

use super::stage::Stage;

const LIMIT: Duration = Duration::from_mins(1);
/// Names of the ports: those of the gateway, of Squid with and without interception, of mitmproxy.
const GATEWAY: [u16; 3] = [13_128, 13_129, 19_090];
const SQUID: u16 = 23_128;
const SQUID_BUMP: u16 = 23_129;
const MITMPROXY: u16 = 33_128;

/// A proxy that runs.
pub(super) struct Proxy {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    /// PEM file of the authority that it shows the hosts' certificates by.
    pub(super) authority: PathBuf,
    /// File with what connections to it begin with.
    pub(super) greetings: Option<PathBuf>,
    child: Option<Child>,
}

impl Proxy {
    /// The gateway, with the cluster's admin's eyes: as in its pod, it watches everything.
    pub(super) async fn gateway(stage: &Stage, lab: &Lab) -> Result<Self> {
        let (node, [proxy, canary, admin]) = (stage.node.to_string(), GATEWAY.map(|port| port.to_string()));
        let trusted = stage.hosts_authority.display().to_string();
        let arguments = [
            "--bind",
            &node,
            "--proxy-port",
            &proxy,
            "--canary-port",
            &canary,
            "--admin-port",
            &admin,
            "--trusted-cas",
            &trusted,
        ];
        let child = stage.start(
            "gateway",
            &lab.program("ws-gateway")?,
            &arguments,
            &[("KUBECONFIG", lab.kubeconfig())],
        )?;
        let ready = format!("http://{node}:{admin}/readyz");
        eventually(PATIENCE, "a gateway that knows all workspaces", async || {
            let mut curl = Command::new("curl");
            curl.args(["-sf", &ready]);
            anyhow::Ok(run(curl, LIMIT).await?.is_ok().then_some(()))
        })
        .await?;
        let certificate = "{.data.tls\\.crt}";
        let certificate = lab.fields(lab.ws_namespace(), "secret/ws-gateway-ca", certificate).await?;
        let authority = stage.path("gateway-ca.pem");
        shell(&format!("base64 -d > {}", authority.display()), Some(certificate)).await?;
        Ok(Self {
            name: "ws",
            address: (stage.node, GATEWAY[0]).into(),
            authority,
            greetings: Some(stage.greetings()),
            child: Some(child),
        })
    }

    /// Squid, without interception and with it ([its documentation](https://wiki.squid-cache.org/ConfigExamples/Intercept/SslBumpExplicit)).
    /// `SQUID_FOLDER` in the environment names the folder that its packages are unpacked in.
    pub(super) async fn squid(stage: &Stage) -> Result<[Self; 2]> {
        let package = PathBuf::from(std::env::var_os("SQUID_FOLDER").context("SQUID_FOLDER is not set")?);
        let folder = stage.path("squid");
        fs::create_dir(&folder)?;
        let [root, at] = [&package, &folder].map(|path| path.display().to_string());
        let authority = folder.join("authority.pem");
        let libraries = fs::read_dir(package.join("usr/lib"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().ends_with("-linux-gnu"))
            .context("no libraries of Squid")?;
        shell(
            &format!(
                "openssl req -new -newkey rsa:2048 -sha256 -days 365 -nodes -x509 -extensions v3_ca -subj /CN=squid \
                 -keyout {at}/authority.pem -out {at}/certificate.pem && cat {at}/certificate.pem >> {at}/authority.pem && \
                 LD_LIBRARY_PATH={} {root}/usr/lib/squid/security_file_certgen -c -s {at}/certificates -M 4MB && \
                 chown -R nobody {at}",
                libraries.display()
            ),
            None,
        )
        .await?;
        let settings = format!(
            "http_port {node}:{SQUID}\n\
             http_port {node}:{SQUID_BUMP} ssl-bump cert={at}/authority.pem generate-host-certificates=on dynamic_cert_mem_cache_size=4MB\n\
             sslcrtd_program {root}/usr/lib/squid/security_file_certgen -s {at}/certificates -M 4MB\n\
             tls_outgoing_options cafile={trusted}\n\
             acl step1 at_step SslBump1\nssl_bump peek step1\nssl_bump bump all\n\
             acl named dstdomain .docs.example\nhttp_access allow named\nhttp_access deny all\ncache deny all\n\
             logfile_daemon {root}/usr/lib/squid/log_file_daemon\naccess_log daemon:{at}/access.log squid\ncache_log {at}/cache.log\n\
             error_directory {root}/usr/share/squid/errors/en\nicon_directory {root}/usr/share/squid/icons\n\
             mime_table {root}/usr/share/squid/mime.conf\ncoredump_dir {at}\npid_filename none\npinger_enable off\nunlinkd_program {root}/usr/lib/squid/unlinkd\n\
             visible_hostname squid\ncache_effective_user nobody\nshutdown_lifetime 0 seconds\n",
            node = stage.node,
            trusted = stage.hosts_authority.display(),
        );
        let file = folder.join("squid.conf");
        fs::write(&file, settings)?;
        let arguments = ["-N", "-n", "bench", "-f", &file.display().to_string()];
        let program = package.join("usr/sbin/squid");
        let child = stage.start("squid", &program, &arguments, &[("LD_LIBRARY_PATH", &libraries)])?;
        let [plain, bump] = [SQUID, SQUID_BUMP].map(|port| SocketAddr::from((stage.node, port)));
        stage.answers(bump).await.with_context(|| said(&folder.join("cache.log")))?;
        Ok([
            Self {
                name: "Squid",
                address: plain,
                authority: authority.clone(),
                greetings: None,
                child: Some(child),
            },
            Self {
                name: "Squid, ssl-bump",
                address: bump,
                authority: folder.join("certificate.pem"),
                greetings: None,
                child: None,
            },
        ])
    }

    /// mitmproxy, which says nothing and passes on what is large as it comes, as
    /// [its options](https://docs.mitmproxy.org/stable/concepts/options/) have it. `MITMPROXY_FOLDER` in the environment names
    /// the virtual environment that it is installed in.
    pub(super) async fn mitmproxy(stage: &Stage) -> Result<Self> {
        let package =
            PathBuf::from(std::env::var_os("MITMPROXY_FOLDER").context("MITMPROXY_FOLDER is not set")?);
        let folder = stage.path("mitmproxy");
        let (node, port) = (stage.node.to_string(), MITMPROXY.to_string());
        let (folder_option, trusted) = (
            format!("confdir={}", folder.display()),
            format!("ssl_verify_upstream_trusted_ca={}", stage.hosts_authority.display()),
        );
        let arguments = [
            "--quiet",
            "--listen-host",
            &node,
            "--listen-port",
            &port,
            "--set",
            &folder_option,
            "--set",
            &trusted,
            "--set",
            "stream_large_bodies=1m",
        ];
        let child = stage.start("mitmproxy", &package.join("bin/mitmdump"), &arguments, &[])?;
        let address = (stage.node, MITMPROXY).into();
        stage.answers(address).await.with_context(|| said(&stage.path("mitmproxy.err")))?;
        Ok(Self {
            name: "mitmproxy",
            address,
            authority: folder.join("mitmproxy-ca-cert.pem"),
            greetings: None,
            child: Some(child),
        })
    }

    /// Ends it in order: Squid would leave shared memory behind.
    pub(super) async fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        shell(&format!("kill {}", child.id().context("it has ended")?), None).await?;
        timeout(LIMIT, child.wait()).await.with_context(|| format!("{} does not end", self.name))??;
        Ok(())
    }

    /// Open connections, as the gateway counts them.
    pub(super) async fn connections(&self, stage: &Stage) -> Result<u32> {
        let mut curl = Command::new("curl");
        curl.args(["-sf", &format!("http://{}:{}/metrics", stage.node, GATEWAY[2])]);
        let metrics = run(curl, LIMIT).await?.ok()?.stdout;
        let open = metrics.lines().find_map(|line| line.strip_prefix("ws_gateway_connections "));
        Ok(open.context("no metric of connections")?.parse()?)
    }

    /// Resident memory in KiB, now.
    pub(super) fn resident(&self) -> Result<f64> {
        resident(self.child.as_ref().and_then(Child::id).context("it has ended")?)
    }
}

/// Resident memory of a process in KiB.
pub(super) fn resident(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process without memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

async fn shell(line: &str, input: Option<String>) -> Result<Output> {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", line]);
    ws_tests::command::run_with_input(bash, input.unwrap_or_default().into_bytes(), LIMIT).await?.ok()
}

fn said(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
