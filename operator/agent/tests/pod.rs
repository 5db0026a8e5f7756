//! The program as a pod runs it: PID 1 of its own namespaces, an ordinary user without capabilities.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test needs and does not get fails it")]

use std::{
    env, fs,
    io::Read as _,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime},
};

use russh::keys::{
    PrivateKey,
    ssh_key::{LineEnding, private::Ed25519Keypair},
};
use tempfile::TempDir;
use ws_api::agent::{HOST_KEY, NODE_ADDRESS, PRINCIPAL, Settings};

const AGENT: &str = env!("CARGO_BIN_EXE_ws-agent");
const UID: u32 = ws_api::WORKSPACE_UID;
const POD_UID: &str = "8c5ff4c6-0000-4000-8000-1d0c0ffee000";
/// Ports on which the pod's gateway listens.
const PORTS: &str = "TEST_GATEWAY_PORTS";

/// Makes the namespaces' loopback work, starts a gateway on it, and becomes the agent.
const POD: &str = r#"
ip link set lo up
"$TEST_SELF" --exact gateway --ignored >/dev/null 2>&1 &
while ! grep -q :0C38 /proc/net/tcp; do sleep 0.01; done
unset TEST_SELF TEST_GATEWAY_PORTS
exec setpriv --reuid 10000 --regid 10000 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$0"
"#;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

struct Pod {
    unshare: Child,
    files: TempDir,
}

impl Pod {
    fn start(ports: &str, variable: Option<(&str, &str)>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let home = files.path().join("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(UID), Some(UID)).unwrap();
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let agent = files.path().join("ws-agent");
        fs::copy(AGENT, &agent).unwrap();
        // As in the stock image: the user executes it and cannot read it.
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o711)).unwrap();
        let settings = Settings {
            user_ca: key(1).public_key().to_openssh().unwrap(),
            gateway: "127.0.0.1".parse().unwrap(),
            forbidden: vec!["tcp/127.0.0.1:443".parse().unwrap(), "dns/127.0.0.1:53".parse().unwrap()],
            isolation_deadline: Duration::from_secs(1),
            idle: Duration::from_mins(1),
            home: home.to_str().unwrap().to_owned(),
        };
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--fork", "--pid", "--kill-child", "--mount-proc", "--net", "sh", "-c", POD])
            .arg(&agent);
        unshare.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        unshare.env("TEST_SELF", env::current_exe().unwrap()).env(PORTS, ports);
        unshare.envs(settings.to_variables()).env(PRINCIPAL, POD_UID).env(NODE_ADDRESS, "127.0.0.1");
        unshare.env(HOST_KEY, key(3).to_openssh(LineEnding::LF).unwrap().as_str());
        unshare.stdout(Stdio::null()).stderr(Stdio::piped());
        unshare.envs(variable);
        let pod = Self { unshare: unshare.spawn().unwrap(), files };
        pod.write_keys();
        pod
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write_keys(&self) {
        let host = key(3).public_key().to_openssh().unwrap();
        fs::write(self.path("known_hosts"), format!("[127.0.0.1]:2222 {host}\nworkspace {host}\n")).unwrap();
        fs::write(self.path("key"), key(2).to_openssh(LineEnding::LF).unwrap()).unwrap();
        fs::set_permissions(self.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        let now = SystemTime::now();
        let valid = now - Duration::from_mins(1)..now + Duration::from_mins(5);
        let certificate =
            ws_ssh::certificate::issue(&key(1), key(2).public_key(), POD_UID, "team-a/test", valid).unwrap();
        fs::write(self.path("key-cert.pub"), certificate.to_openssh().unwrap()).unwrap();
    }

    /// The agent's number outside.
    fn pid(&self) -> String {
        let unshare = self.unshare.id();
        let path = format!("/proc/{unshare}/task/{unshare}/children");
        eventually(|| {
            fs::read_to_string(&path).ok().map(|pid| pid.trim().to_owned()).filter(|pid| !pid.is_empty())
        })
    }

    fn ssh(&self, options: &[&str], line: &str) -> Output {
        let mut ssh = Command::new("nsenter");
        ssh.args([
            "-t",
            &self.pid(),
            "-n",
            "ssh",
            "-F",
            "none",
            "-l",
            "ws",
            "-p",
            "2222",
            "-o",
            "BatchMode=yes",
        ]);
        ssh.args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]).arg("-i").arg(self.path("key"));
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        ssh.args(options).args(["127.0.0.1", line]).stdin(Stdio::null()).output().unwrap()
    }

    /// What `exec` starts in a container: a program with the container's variables.
    fn exec(&self, program: &[&str]) -> Child {
        let mut exec = Command::new("nsenter");
        exec.args(["-t", &self.pid(), "-p", "-m", "-n", "setpriv", "--reuid", "10000", "--regid", "10000"]);
        exec.args(["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
            .args(program);
        exec.env_clear().env("PATH", "/usr/bin:/bin").env(HOST_KEY, "PRIVATE KEY");
        exec.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn wait_until_served(&self) {
        eventually(|| self.ssh(&[], "true").status.success().then_some(()));
    }

    /// What the agent logged, its exit status, and the time that took.
    fn end(mut self) -> (String, Option<i32>, Duration) {
        let began = Instant::now();
        let mut log = String::new();
        self.unshare.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (log, self.unshare.wait().unwrap().code(), began.elapsed())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never");
}

/// Not a test: the gateway of a pod, which takes connections and answers none.
#[test]
#[ignore = "started by the other tests"]
fn gateway() {
    let listeners: Vec<TcpListener> = env::var(PORTS)
        .unwrap()
        .split(',')
        .map(|port| TcpListener::bind(format!("127.0.0.1:{port}")).unwrap())
        .collect();
    std::thread::sleep(Duration::from_mins(5));
    drop(listeners);
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn the_agent_serves_as_pid_1_and_shows_nothing_of_itself() {
    let pod = Pod::start("3128", None);
    pod.wait_until_served();
    for (line, expected) in [
        ("cat /proc/1/environ 2>&1", "cat: /proc/1/environ: Permission denied\n"),
        ("ls /proc/1/fd /proc/1/cwd/ 2>&1 | grep -c denied", "2\n"),
        ("env | grep -c -e ^WS_ -e PRIVATE", "0\n"),
        ("id -u; ulimit -c", "10000\n0\n"),
        (
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2 | xargs",
            "0000000000000000 0000000000000000 1 2\n",
        ),
        ("unshare --user true 2>&1", "unshare: unshare failed: Operation not permitted\n"),
        ("kill -KILL 1; kill -STOP 1; kill -TERM 1; pkill -TERM ws-agent; sleep 0.3; echo alive", "alive\n"),
        (
            "for i in 1 2 3; do (true &); done; sleep 0.3; cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '",
            "0\n",
        ),
        ("touch $HOME/project/made && pwd | grep -c /project", "1\n"),
        ("bash -c 'echo > /dev/tcp/127.0.0.1/2222' && echo open", "open\n"),
    ] {
        let output = pod.ssh(&[], line);
        assert_eq!(text(&output.stdout), expected, "{line}");
    }
    let carrier = format!("ProxyCommand={} stdio", pod.path("ws-agent").display());
    let output = pod.ssh(&["-o", &carrier, "-o", "HostKeyAlias=workspace"], "head -c 1000000 /dev/zero");
    assert_eq!(output.stdout.len(), 1_000_000, "{}", text(&output.stderr));
    Command::new("kill").args(["-TERM", &pod.pid()]).status().unwrap();
    let (log, status, took) = pod.end();
    assert!(log.contains("Terminated: "), "{log}");
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn what_carries_a_connection_shows_nothing_of_itself_either() {
    let pod = Pod::start("3128", None);
    pod.wait_until_served();
    let agent = pod.path("ws-agent");
    let mut carrier = pod.exec(&[agent.to_str().unwrap(), "stdio"]);
    carrier.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
    // The control: what else `exec` starts can be looked into, and has no filter of ours.
    let control = pod.exec(&["sleep", "100"]);
    for found in [
        "tr '\\0' '\\n' < $p/environ | grep -q PRIVATE",
        "grep -q '^Seccomp:.0' $p/status",
        "head -c 0 $p/mem",
    ] {
        let line = format!("for p in /proc/[0-9]*; do {found} && cat $p/comm; done 2>/dev/null");
        let all = eventually(|| {
            let output = pod.ssh(&[], &line).stdout;
            Some(text(&output)).filter(|all| all.contains("sleep\n"))
        });
        assert!(!all.contains("ws-agent\n"), "{found}: {all}");
    }
    Command::new("kill").args(["-TERM", &pod.pid()]).status().unwrap();
    pod.end();
    for mut child in [carrier, control] {
        child.wait().unwrap();
    }
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn a_pod_that_reaches_the_canary_is_never_served() {
    let (log, status, _) = Pod::start("3128,3129", None).end();
    assert!(log.contains("EgressNotEnforced: tcp/127.0.0.1:3129"), "{log}");
    assert!(!log.contains("serving"), "{log}");
    assert_eq!(status, Some(1));
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn an_unused_workspace_ends() {
    let pod = Pod::start("3128", Some(("WS_IDLE", "3")));
    let (log, status, took) = pod.end();
    assert!(log.contains("Idle: nobody connected within 3 s"), "{log}");
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
#[ignore = "needs root, to make namespaces"]
fn settings_that_make_no_sense_are_named() {
    for (variable, value) in [(HOST_KEY, "no key"), ("WS_GATEWAY", "gateway"), ("WS_USER_CA", "nobody")] {
        let (log, status, _) = Pod::start("3128", Some((variable, value))).end();
        assert!(log.contains("Misconfigured: "), "{log}");
        assert_eq!(status, Some(1), "{variable}");
    }
}
