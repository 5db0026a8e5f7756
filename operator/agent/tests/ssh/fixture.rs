//! A server on the loopback with its own CA and home, and clients for it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use russh::{
    ChannelMsg,
    client::{self, Handle},
    keys::{
        Certificate, PrivateKey, PublicKeyOrCertificate,
        ssh_key::{LineEnding, private::Ed25519Keypair},
    },
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};
use ws_agent::{
    gateway::Gateway,
    reaper::Reaper,
    server::{Options, Server},
    session::environment::Environment,
    way_out::Known,
};
use ws_ssh::{
    certificate::{Authority, issue},
    token::Token,
};

pub const POD: &str = "8c5ff4c6-0000-4000-8000-1d0c0ffee000";
pub const LONG: Duration = Duration::from_mins(1);

pub fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// Seeds of the keys that take part.
pub const CA: u8 = 1;
pub const USER: u8 = 2;
pub const HOST: u8 = 3;

pub fn certificate(ca: u8, principal: &str, ends: i64) -> Certificate {
    let now = SystemTime::now();
    let end = if ends < 0 {
        now - Duration::from_secs(ends.unsigned_abs())
    } else {
        now + Duration::from_secs(ends.unsigned_abs())
    };
    let begin = now - Duration::from_hours(1);
    issue(&key(ca), key(USER).public_key(), principal, "team-a/test", begin..end).unwrap()
}

pub struct Workspace {
    pub server: Server,
    pub address: SocketAddr,
    files: TempDir,
}

impl Workspace {
    pub async fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let home = files.path().join("home");
        let environment = Environment::new(&home, [], Known::none());
        fs::create_dir_all(environment.project()).unwrap();
        let spool = files.path().join("spool");
        fs::create_dir(&spool).unwrap();
        let reaper = Arc::new(Reaper::default());
        tokio::spawn(reaper.run().unwrap());
        let options = Options {
            host_key: key(HOST),
            authority: Authority::new(key(CA).public_key().clone(), POD),
            environment,
            gateway: Gateway {
                address: "10.96.0.7:3128".parse().unwrap(),
                token: Token::sign(&key(HOST), POD).unwrap(),
            },
            spool,
            port: address.port(),
        };
        let server = Server::new(options, reaper);
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        let workspace = Self { server, address, files };
        workspace.write_keys();
        workspace
    }

    fn write_keys(&self) {
        let port = self.address.port();
        let host = key(HOST).public_key().to_openssh().unwrap();
        fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{port} {host}\n")).unwrap();
        self.write_certificate(&certificate(CA, POD, 600));
        fs::write(self.path("key"), key(USER).to_openssh(LineEnding::LF).unwrap()).unwrap();
        fs::set_permissions(self.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn write_certificate(&self, certificate: &Certificate) {
        fs::write(self.path("key-cert.pub"), certificate.to_openssh().unwrap()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub fn project(&self) -> PathBuf {
        self.path("home/project")
    }

    /// Stock `ssh` with this workspace's keys and no configuration of this machine.
    pub fn ssh(&self) -> Command {
        self.ssh_as("ws")
    }

    pub fn ssh_as(&self, user: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.files.path());
        ssh.args(["-F", "none", "-l", user, "-p", &self.address.port().to_string()]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=yes",
            "LogLevel=ERROR",
            "Ciphers=aes256-gcm@openssh.com",
            "EscapeChar=none",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        ssh.arg("-i").arg(self.path("key"));
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        ssh
    }

    /// Runs a command line in the workspace by stock `ssh`.
    pub async fn run(&self, line: &str) -> Output {
        self.run_with(&[], line, "").await
    }

    pub async fn run_with(&self, options: &[&str], line: &str, input: &str) -> Output {
        let mut ssh = self.ssh();
        let child = ssh.args(options).args(["127.0.0.1", line]).stdin(Stdio::piped()).spawn().unwrap();
        finish(child, input).await
    }

    /// A logged-in client with our own settings.
    pub async fn client(&self) -> Handle<Pinned> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        login(stream).await
    }
}

pub async fn finish(mut child: Child, input: &str) -> Output {
    let mut stdin = child.stdin.take().unwrap();
    // A client that was refused does not read.
    stdin.write_all(input.as_bytes()).await.ok();
    drop(stdin);
    timeout(LONG, child.wait_with_output()).await.unwrap().unwrap()
}

pub async fn login<S>(stream: S) -> Handle<Pinned>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let config = Arc::new(ws_ssh::client_config());
    let stream = ws_ssh::unblocked(stream);
    let mut handle = client::connect_stream(config, stream, Pinned).await.unwrap();
    let certificate = certificate(CA, POD, 600);
    let login = handle.authenticate_openssh_cert("ws", Arc::new(key(USER)), certificate).await.unwrap();
    assert!(login.success());
    handle
}

/// Accepts the one host key.
pub struct Pinned;

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(key.public_key().key_data() == self::key(HOST).public_key().key_data())
    }
}

/// What a command gave on a client of ours.
#[derive(Debug, Default, PartialEq)]
pub struct Given {
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    pub status: Option<u32>,
    pub signal: Option<String>,
}

pub async fn exec(client: &Handle<Pinned>, line: &str) -> Given {
    let channel = client.channel_open_session().await.unwrap();
    channel.exec(true, line).await.unwrap();
    gather(channel).await
}

pub async fn gather(mut channel: russh::Channel<client::Msg>) -> Given {
    let mut given = Given::default();
    while let Some(message) = timeout(LONG, channel.wait()).await.unwrap() {
        match message {
            ChannelMsg::Data { data } => given.output.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } => given.error.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => given.status = Some(exit_status),
            ChannelMsg::ExitSignal { signal_name, .. } => given.signal = Some(format!("{signal_name:?}")),
            _ => (),
        }
    }
    given
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `holds`.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
