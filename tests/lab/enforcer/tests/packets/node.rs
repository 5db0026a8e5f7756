//! A node in miniature: a bridge with pods, a Service and a host outside, each in a network namespace of its own.

use std::{
    fs::File,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, from_value, json};
use ws_lab_enforcer::{Cluster, Link, LinkedPod, Network, Unknown, render};

/// Address and port of a server.
pub type Address = (Ipv4Addr, u16);

/// Where every server listens, TCP and UDP.
pub const PORT: u16 = 8080;
/// A Service whose only server is pod 3.
pub const SERVICE: Address = (Ipv4Addr::new(10, 96, 0, 10), 80);
/// A Service whose only server is the node, at an address outside of the pod network, as the API server's.
pub const SERVICE_OF_NODE: Address = (Ipv4Addr::new(10, 96, 0, 1), 443);
/// It answers from this address, which UDP does only if it is bound to it.
const SERVER_OF_NODE: Address = (Ipv4Addr::new(10, 88, 0, 1), PORT + 1);
pub const NODE: Address = (Ipv4Addr::new(10, 90, 0, 1), PORT);
pub const OUTSIDE: Address = (Ipv4Addr::new(10, 88, 0, 2), PORT);

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Open,
    /// Denied at once, with a TCP reset or an ICMP error.
    Refused,
    /// No answer of any kind.
    Silent,
}

/// Longer than any answer takes here, shorter than TCP's first retransmission.
const PATIENCE: Duration = Duration::from_millis(600);

pub const fn pod(host: u8) -> Address {
    (Ipv4Addr::new(10, 90, 0, host), PORT)
}

/// One network namespace; gone with its value.
pub struct Namespace(pub String);

impl Namespace {
    fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wse-{}-{number}-{name}", std::process::id());
        run("ip", &["netns", "add", &name], "");
        let namespace = Self(name);
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `ip` with arguments separated by blanks.
    pub fn ip(&self, arguments: &str) {
        let all: Vec<_> = ["-n", &self.0].into_iter().chain(arguments.split(' ')).collect();
        run("ip", &all, "");
    }

    /// Runs `f` on a thread that is in this namespace.
    pub fn inside<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{}", self.0)).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            f()
        })
    }

    pub fn nft(&self, rules: &str) {
        let rules = rules.to_owned();
        self.inside(move || run("nft", &["-f", "-"], &rules)).join().unwrap();
    }

    /// Echoes what TCP and UDP bring to an address.
    fn serve(&self, address: Address) {
        let listener = self.inside(move || TcpListener::bind(address).unwrap()).join().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        self.serve_datagrams(address.into());
    }

    /// Echoes what UDP brings to an address.
    pub fn serve_datagrams(&self, address: SocketAddr) {
        let socket = self.inside(move || UdpSocket::bind(address).unwrap()).join().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
                drop(socket.send_to(&buffer[..length], sender));
            }
        });
    }

    /// Opens a connection and has a few bytes echoed.
    pub fn tcp(&self, target: impl Into<SocketAddr>) -> Outcome {
        self.stream(target).map_or_else(|outcome| outcome, |stream| echo(&stream))
    }

    /// A connection that stays open.
    pub fn stream(&self, target: impl Into<SocketAddr>) -> Result<TcpStream, Outcome> {
        let target = target.into();
        let stream = self.inside(move || TcpStream::connect_timeout(&target, PATIENCE)).join().unwrap();
        let stream = stream.map_err(|error| outcome(&error))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Ok(stream)
    }

    /// A connected socket; `from` picks one of several addresses of the pod.
    pub fn udp_socket(&self, from: Option<Ipv4Addr>, target: impl Into<SocketAddr>) -> UdpSocket {
        let target = target.into();
        let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let open = move || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.connect(target).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        self.inside(open).join().unwrap()
    }

    pub fn udp(&self, target: impl Into<SocketAddr>) -> Outcome {
        datagram(&self.udp_socket(None, target))
    }

    /// As [`Self::udp`], but the answer may come from anyone except `itself`, who gets what it sends to a group.
    pub fn anyone(&self, itself: IpAddr, target: impl Into<SocketAddr>) -> Outcome {
        let target = target.into();
        let any: IpAddr =
            if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let attempt = move || {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(b"ping", target).unwrap();
            loop {
                match socket.recv_from(&mut [0; 64]) {
                    Ok((_, sender)) if sender.ip() == itself => (),
                    Ok(_) => return Outcome::Open,
                    Err(error) => return outcome(&error),
                }
            }
        };
        self.inside(attempt).join().unwrap()
    }

    /// The number of its interface, which link-local addresses need.
    pub fn interface(&self) -> u32 {
        let shown = run("ip", &["-n", &self.0, "-o", "link", "show", "eth0"], "");
        shown.split(':').next().unwrap().parse().unwrap()
    }

    /// The hardware address of one of its interfaces.
    pub fn mac(&self, interface: &str) -> String {
        let shown = run("ip", &["-n", &self.0, "-o", "link", "show", interface], "");
        let after = shown.split("link/ether ").nth(1).unwrap();
        after.split(' ').next().unwrap().to_owned()
    }

    /// Tells it the hardware address of a neighbour, so that it need not ask.
    pub fn knows(&self, neighbour: Ipv4Addr, mac: &str) {
        self.ip(&format!("neigh replace {neighbour} lladdr {mac} dev eth0 nud permanent"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.0]).status());
    }
}

/// Has a few bytes echoed over an open connection.
pub fn echo(mut stream: &TcpStream) -> Outcome {
    let mut answer = [0; 4];
    let result = stream.write_all(b"ping").and_then(|()| stream.read_exact(&mut answer));
    result.map_or_else(|error| outcome(&error), |()| Outcome::Open)
}

/// Sends one datagram and waits for its echo.
pub fn datagram(socket: &UdpSocket) -> Outcome {
    let result = socket.send(b"ping").and_then(|_| socket.recv(&mut [0; 64]));
    result.map_or_else(|error| outcome(&error), |_| Outcome::Open)
}

fn outcome(error: &std::io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::HostUnreachable => {
            Outcome::Refused
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Outcome::Silent,
        kind => panic!("{kind}: {error}"),
    }
}

/// The node, pods 2, 3 and 4 on its bridge, and a host outside; everyone serves.
pub struct Site {
    pub node: Namespace,
    pub pods: Vec<Namespace>,
    pub outside: Namespace,
}

impl Site {
    pub fn new() -> Self {
        let node = Namespace::new("node");
        node.ip("link add cni0 type bridge");
        node.ip("addr add 10.90.0.1/16 dev cni0");
        node.ip("link set cni0 up");
        for setting in
            ["net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1", "net.ipv4.icmp_ratemask=0"]
        {
            let set = move || run("sysctl", &["-qw", setting], "");
            node.inside(set).join().unwrap();
        }
        let outside = Namespace::new("outside");
        node.ip(&format!("link add uplink type veth peer name eth0 netns {}", outside.0));
        node.ip("addr add 10.88.0.1/24 dev uplink");
        node.ip("link set uplink up");
        outside.ip("addr add 10.88.0.2/24 dev eth0");
        outside.ip("link set eth0 up");
        outside.ip("route add default via 10.88.0.1");
        node.nft(&services(&[(SERVICE, pod(3)), (SERVICE_OF_NODE, SERVER_OF_NODE)]));
        let pods = [2, 3, 4].map(|host| add_pod(&node, host)).into();
        for namespace in [&node, &outside] {
            namespace.serve((Ipv4Addr::UNSPECIFIED, PORT));
        }
        node.serve(SERVER_OF_NODE);
        Self { node, pods, outside }
    }

    /// The pod whose address ends in `host`.
    pub fn pod(&self, host: u8) -> &Namespace {
        &self.pods[usize::from(host) - 2]
    }

    /// Enforces `policies`, for the pods whose addresses end in `known`.
    pub fn enforce(&self, known: &[u8], policies: &[Value]) {
        self.enforce_with(known, policies, Unknown::Drop);
    }

    pub fn enforce_with(&self, known: &[u8], policies: &[Value], unknown: Unknown) {
        let cluster = Cluster {
            pods: known.iter().map(|host| self.linked(*host)).collect(),
            namespaces: vec![Arc::new(from_value(json!({"metadata": {"name": "ns"}})).unwrap())],
            policies: policies.iter().map(|policy| Arc::new(from_value(policy.clone()).unwrap())).collect(),
        };
        let network = Network { pods: "10.90.0.0/16".parse().unwrap(), bridge: "cni0".to_owned(), unknown };
        self.node.nft(&render(&cluster, &network).unwrap());
    }

    fn linked(&self, host: u8) -> LinkedPod {
        let metadata =
            json!({"namespace": "ns", "name": format!("pod-{host}"), "labels": {"pod": host.to_string()}});
        let link = Link {
            pod_uid: host.to_string(),
            address: pod(host).0,
            port: port(host).parse().unwrap(),
            mac: self.pod(host).mac("eth0").parse().unwrap(),
        };
        LinkedPod { pod: Arc::new(from_value(json!({"metadata": metadata})).unwrap()), link }
    }
}

/// What kube-proxy would do for Services with one server each.
fn services(services: &[(Address, Address)]) -> String {
    let rules = services.iter().map(|((service, port), (server, server_port))| {
        format!(
            "ip daddr {service} meta l4proto {{ tcp, udp }} th dport {port} dnat to {server}:{server_port}\n"
        )
    });
    let rules: String = rules.collect();
    format!(
        "table ip services {{\nchain prerouting {{\ntype nat hook prerouting priority dstnat\n{rules}}}\n}}\n"
    )
}

fn port(host: u8) -> String {
    format!("veth{host:08x}")
}

fn add_pod(node: &Namespace, host: u8) -> Namespace {
    let pod = Namespace::new(&format!("pod{host}"));
    let port = port(host);
    node.ip(&format!("link add {port} type veth peer name eth0 netns {}", pod.0));
    node.ip(&format!("link set {port} master cni0"));
    node.ip(&format!("link set {port} type bridge_slave hairpin on"));
    node.ip(&format!("link set {port} up"));
    pod.ip(&format!("addr add 10.90.0.{host}/16 dev eth0"));
    pod.ip("link set eth0 up");
    pod.ip("route add default via 10.90.0.1");
    pod.serve((Ipv4Addr::UNSPECIFIED, PORT));
    pod
}

/// Isolates the pod whose address ends in `host` in one direction, but for `rules`.
pub fn policy(host: u8, direction: &str, rules: &Value) -> Value {
    json!({
        "metadata": {"namespace": "ns", "name": format!("{}-{host}", direction.to_lowercase())},
        "spec": {
            "podSelector": {"matchLabels": {"pod": host.to_string()}},
            "policyTypes": [direction],
            direction.to_lowercase(): rules,
        },
    })
}

/// Tries until something is open, for what needs a moment after a link came up.
pub fn eventually(mut attempt: impl FnMut() -> Outcome) -> Outcome {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let outcome = attempt();
        if outcome == Outcome::Open || Instant::now() > end {
            return outcome;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a program to its end, which must be a good one; returns what it printed.
pub fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}\n{input}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
