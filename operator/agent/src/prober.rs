//! Makes the attempts that [`Proof`] decides by.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Once,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpStream, UdpSocket},
    task::JoinSet,
    time::{sleep, timeout},
};
use ws_api::{
    agent::{Protocol, Target},
    gateway::{CANARY_PORT, PROXY_PORT},
    termination::Ending,
};

use crate::proof::{ATTEMPTS, Attempt, Next, Proof, Round, Watch};

/// Port of the kubelet on each node.
const KUBELET_PORT: u16 = 10_250;
/// Between two attempts on a target, so that they do not all fall into one moment of the network's life.
const STAGGER: Duration = Duration::from_millis(1);
/// After a forbidden target answered, or could not be tried: the policy may be on its way.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks once the workspace is in use, and the time an attempt is then given.
const WATCH: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1));

/// Knows what the pod must reach and what it must not.
#[derive(Clone, Debug)]
pub struct Prober {
    proxy: SocketAddr,
    forbidden: Vec<Target>,
}

/// The pod is isolated.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    pub attempts: u32,
}

impl Prober {
    /// `forbidden` is what the operator names; the canary and the node's kubelet are added.
    pub fn new(gateway: IpAddr, node: IpAddr, forbidden: &[Target]) -> Self {
        let tcp = |address, port| Target { protocol: Protocol::Tcp, address: SocketAddr::new(address, port) };
        let added = [tcp(gateway, CANARY_PORT), tcp(node, KUBELET_PORT)];
        Self {
            proxy: SocketAddr::new(gateway, PROXY_PORT),
            forbidden: added.into_iter().chain(forbidden.iter().copied()).collect(),
        }
    }

    /// Address of the gateway's proxy.
    pub fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Resolves when the isolation is proven, or with the evidence when it was not until `deadline`.
    pub async fn prove(&self, deadline: Duration) -> Result<Proven, Ending> {
        let began = Instant::now();
        let mut proof = Proof::new(deadline);
        let told = Once::new();
        loop {
            match proof.next(began.elapsed()) {
                Next::AskGateway { patience } => self.ask_gateway(&mut proof, patience).await,
                Next::Probe { patience } => {
                    let (attempts, round) = self.round(ATTEMPTS, patience).await;
                    proof.probed(attempts, &round);
                    match round {
                        Round::Denied => continue,
                        Round::Reached(target) => told.call_once(
                            || tracing::info!(%target, "the policy is not in force: waiting for it"),
                        ),
                        Round::Unmade(why) => told.call_once(|| tracing::warn!(why, "nothing is shown yet")),
                    }
                    sleep(PAUSE).await;
                }
                Next::Proven { attempts } => return Ok(Proven { attempts }),
                Next::Failed(ending) => return Err(ending),
            }
        }
    }

    /// Resolves when the isolation is broken, or can no longer be shown, which ends the workspace.
    pub async fn breached(&self) -> Ending {
        let mut watch = Watch::default();
        loop {
            let gateway = attempt(WATCH.1, connect(self.proxy)).await;
            let (_, forbidden) = self.round(1, WATCH.1).await;
            if let Some(ending) = watch.looked(&gateway, &forbidden) {
                return ending;
            }
            sleep(WATCH.0).await;
        }
    }

    async fn ask_gateway(&self, proof: &mut Proof, patience: Duration) {
        let began = Instant::now();
        match attempt(patience, connect(self.proxy)).await {
            Attempt::Reached => proof.gateway_reached(began.elapsed()),
            Attempt::Denied | Attempt::Unmade(_) => {
                // A refusal comes at once; an attempt takes its time in any case.
                sleep(patience.saturating_sub(began.elapsed())).await;
                proof.gateway_silent();
            }
        }
    }

    /// Makes `attempts` on each target, all at the same time but for the stagger. Ends early when one is reached.
    async fn round(&self, attempts: u32, patience: Duration) -> (u32, Round) {
        let mut running = JoinSet::new();
        for turn in 0..attempts {
            for target in self.forbidden.iter().copied() {
                running.spawn(async move {
                    sleep(STAGGER * turn).await;
                    (target, reach(target, patience).await)
                });
            }
        }
        let (mut made, mut round) = (0, Round::Denied);
        while let Some(outcome) = running.join_next().await {
            made += 1;
            match outcome {
                Ok((target, Attempt::Reached)) => return (made, Round::Reached(target)),
                Ok((_, Attempt::Denied)) => (),
                Ok((target, Attempt::Unmade(why))) => {
                    round = Round::Unmade(format!("{target} could not be tried: {why}"));
                }
                Err(error) => round = Round::Unmade(error.to_string()),
            }
        }
        (made, round)
    }
}

async fn reach(target: Target, patience: Duration) -> Attempt {
    match target.protocol {
        Protocol::Tcp => attempt(patience, connect(target.address)).await,
        Protocol::Dns => attempt(patience, query(target.address)).await,
    }
}

async fn attempt(patience: Duration, reached: impl Future<Output = io::Result<()>>) -> Attempt {
    match timeout(patience, reached).await {
        Ok(Ok(())) => Attempt::Reached,
        Ok(Err(error)) if !is_denial(&error) => Attempt::Unmade(error.to_string()),
        Ok(Err(_)) | Err(_) => Attempt::Denied,
    }
}

/// Whether an error is the network's answer, and not that of this machine, which lacks a port, a descriptor or memory.
fn is_denial(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            // A firewall's, on this side or told by a router.
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TimedOut
    )
}

async fn connect(address: SocketAddr) -> io::Result<()> {
    TcpStream::connect(address).await.map(drop)
}

/// Asks a name that a cluster's DNS knows without asking further, and waits for any answer.
async fn query(server: SocketAddr) -> io::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question("kubernetes.default.svc.cluster.local")).await?;
    socket.recv(&mut [0; 512]).await.map(drop)
}

/// A query (RFC 1035 §4.1) for the addresses of `name`, with recursion.
fn question(name: &str) -> Vec<u8> {
    const HEADER: [u8; 12] = [0x77, 0x73, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    const TYPE_A_CLASS_IN: [u8; 4] = [0, 1, 0, 1];
    let mut message = HEADER.to_vec();
    for label in name.split('.') {
        message.extend(u8::try_from(label.len()));
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&TYPE_A_CLASS_IN);
    message
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use ws_api::termination::Reason;

    use super::*;

    fn tcp(address: SocketAddr) -> Target {
        Target { protocol: Protocol::Tcp, address }
    }

    /// A port on which nothing listens.
    async fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[test]
    fn a_question_is_a_dns_message() {
        let message = question("ab.c");
        assert_eq!(&message[12..], [2, b'a', b'b', 1, b'c', 0, 0, 1, 0, 1]);
    }

    #[tokio::test]
    async fn a_pod_that_reaches_only_the_gateway_is_isolated() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let prober = Prober {
            proxy: gateway.local_addr().unwrap(),
            forbidden: vec![tcp(closed().await), Target { protocol: Protocol::Dns, address: closed().await }],
        };
        let proven = prober.prove(Duration::from_secs(10)).await.unwrap();
        assert_eq!(proven.attempts, 2 * ATTEMPTS);
    }

    #[tokio::test]
    async fn a_pod_that_reaches_what_is_forbidden_is_not_however_long_it_tries() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let prober = Prober {
            proxy: gateway.local_addr().unwrap(),
            forbidden: vec![tcp(closed().await), tcp(canary.local_addr().unwrap())],
        };
        let ending = prober.prove(Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(ending.reason, Reason::EgressNotEnforced);
        assert!(ending.message.contains(&canary.local_addr().unwrap().to_string()), "{}", ending.message);
    }

    #[tokio::test]
    async fn a_policy_that_comes_late_is_waited_for() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let prober = Prober {
            proxy: gateway.local_addr().unwrap(),
            forbidden: vec![tcp(canary.local_addr().unwrap())],
        };
        let policy = async {
            sleep(Duration::from_millis(200)).await;
            drop(canary);
        };
        let (proven, ()) = tokio::join!(prober.prove(Duration::from_secs(10)), policy);
        assert!(proven.unwrap().attempts > ATTEMPTS);
    }

    #[tokio::test]
    async fn a_dns_server_that_answers_is_reached() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = Target { protocol: Protocol::Dns, address: server.local_addr().unwrap() };
        let answering = tokio::spawn(async move {
            let mut message = [0; 512];
            let (_, client) = server.recv_from(&mut message).await.unwrap();
            server.send_to(b"no", client).await.unwrap();
        });
        assert_eq!(reach(target, Duration::from_secs(5)).await, Attempt::Reached);
        answering.await.unwrap();
    }

    #[test]
    fn only_an_answer_of_the_network_is_a_denial() {
        for (errors, denial) in [
            (
                [
                    libc::ECONNREFUSED,
                    libc::ECONNRESET,
                    libc::EHOSTUNREACH,
                    libc::ENETUNREACH,
                    libc::ETIMEDOUT,
                    libc::EACCES,
                    libc::EPERM,
                ],
                true,
            ),
            (
                [
                    libc::EADDRNOTAVAIL,
                    libc::EADDRINUSE,
                    libc::EAGAIN,
                    libc::EMFILE,
                    libc::ENFILE,
                    libc::ENOBUFS,
                    libc::ENOMEM,
                ],
                false,
            ),
        ] {
            for error in errors {
                assert_eq!(is_denial(&io::Error::from_raw_os_error(error)), denial, "{error}");
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_tried_proves_nothing() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // A link-local address without its link: the kernel does not even try.
        let forbidden = vec![tcp(closed().await), tcp("[fe80::1]:1".parse().unwrap())];
        let prober = Prober { proxy: gateway.local_addr().unwrap(), forbidden };
        let ending = prober.prove(Duration::from_millis(200)).await.unwrap_err();
        assert_eq!(ending.reason, Reason::EgressNotEnforced);
        assert!(ending.message.contains("tcp/[fe80::1]:1 could not be tried: "), "{}", ending.message);
    }

    #[tokio::test]
    async fn a_breach_is_seen_at_once() {
        let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let forbidden = vec![tcp(closed().await), tcp(canary.local_addr().unwrap())];
        let prober = Prober { proxy: closed().await, forbidden };
        let ending = timeout(Duration::from_secs(10), prober.breached()).await.unwrap();
        assert_eq!(ending.reason, Reason::EgressBreach);
    }

    #[tokio::test]
    async fn without_a_gateway_nothing_is_said_about_the_policy() {
        let prober = Prober { proxy: closed().await, forbidden: vec![] };
        let ending = prober.prove(Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(ending.reason, Reason::GatewayUnreachable);
    }
}
