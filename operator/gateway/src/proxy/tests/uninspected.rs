//! Connections that are passed through. Each is written down, however it ends.

use futures::future::{BoxFuture, pending};
use tokio::sync::Notify;
use ws_policy::{addresses::Special, host::Host};

use super::{
    passing::{HELLO, server},
    *,
};
use crate::{
    testing::policies_with,
    trust,
    upstream::{Lookup, Resolve},
};

/// For what ends by itself, before the drain drops what is left.
const SOON: Duration = Duration::from_secs(4);

/// Says that each name is this machine's, or never says anything.
#[derive(Clone, Default)]
struct Names {
    is_mute: bool,
    asked: Arc<Notify>,
}

impl Lookup for Names {
    fn addresses(&self, _: String) -> BoxFuture<'_, std::io::Result<Vec<IpAddr>>> {
        self.asked.notify_one();
        if self.is_mute {
            return Box::pin(pending());
        }
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

/// A gateway for which hosts outside are on this machine, and which can be shut down.
struct Passing {
    gateway: Gateway,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    destination: Destination,
}

async fn passing(names: Names, port: u16) -> Passing {
    let mut gateway = gateway().await;
    let resolve = Resolve::new(names, Special::only(Vec::new()));
    gateway.proxy.upstream = Upstream::new(resolve.clone(), resolve, trust::outside(None).unwrap());
    gateway.judge.send_replace(policies_with(&json!([{
        "name": "opaque", "hosts": ["opaque.example"], "ports": [port],
        "passthrough": {"acknowledged": "uninspected"}, "budget": {"upload": "1Mi"},
    }])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    gateway.address = agent(listener.local_addr().unwrap()).await;
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(gateway.proxy.clone().serve(listener, shutdown.clone()));
    let destination = Destination { host: Host::parse("opaque.example").unwrap(), port };
    Passing { gateway, shutdown, served, destination }
}

impl Passing {
    /// A connection on which something was said and answered.
    async fn talking(&self) -> TcpStream {
        let mut stream = self.gateway.tunnel(&format!("opaque.example:{}", self.destination.port)).await;
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut [0; HELLO.len()]).await.unwrap();
        stream
    }

    /// What is said of the one connection that there was.
    async fn written(&self) -> Value {
        self.gateway.settle().await;
        let lines = self.gateway.log.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let egress = self.gateway.status.lock().unwrap()["egress"].clone();
        assert_eq!((&egress["allowed"], &egress["uploadedBytes"]), (&json!(1), &lines[0]["sentBytes"]));
        let told = ["decision", "rule", "host", "reason", "sentBytes", "receivedBytes"];
        json!(told.map(|member| lines[0][member].clone()))
    }
}

fn said(reason: Option<&str>) -> Value {
    json!(["allowed", "opaque", "opaque.example", reason, 4, HELLO.len()])
}

fn unsaid() -> Value {
    json!(["allowed", "opaque", "opaque.example", null, 0, 0])
}

#[tokio::test]
async fn what_is_passed_through_ends_with_the_gateway_and_is_written_down() {
    let server = server(HELLO).await;
    let mut passing = passing(Names::default(), server.port).await;
    let mut stream = passing.talking().await;
    passing.shutdown.cancel();
    timeout(SOON, &mut passing.served).await.expect("nothing is left to be dropped").unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or_default(), 0);
    assert_eq!(passing.written().await, said(None));
}

#[tokio::test]
async fn a13_what_is_passed_through_is_cut_when_its_rule_is_gone_and_is_written_down() {
    let server = server(HELLO).await;
    let passing = passing(Names::default(), server.port).await;
    let mut stream = passing.talking().await;
    passing.gateway.judge.send_replace(policies_with(&json!([])));
    let cut = timeout(SOON, stream.read(&mut [0])).await.expect("it is cut");
    assert_eq!(cut.unwrap_or_default(), 0);
    assert_eq!(passing.written().await, said(Some("revoked")));
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_written_down() {
    let server = server(HELLO).await;
    let passing = passing(Names::default(), server.port).await;
    let proxy = Arc::new(passing.gateway.proxy.clone());
    let source = KNOWN.parse().unwrap();
    let session = proxy.sessions.borrow().at(source).unwrap().clone();
    let asker = Asker { session, source, cut: Failure::default() };
    let Ok(opened) = proxy.open(&asker, &passing.destination).await else { panic!("it is allowed") };
    drop(opened);
    assert_eq!(passing.written().await, unsaid());
}

#[tokio::test]
async fn who_leaves_while_a_host_is_dialled_is_written_down() {
    let names = Names { is_mute: true, ..Names::default() };
    let passing = passing(names.clone(), 443).await;
    let mut stream = TcpStream::connect(passing.gateway.address).await.unwrap();
    stream.write_all(b"CONNECT opaque.example:443 HTTP/1.1\r\nHost: opaque.example\r\n\r\n").await.unwrap();
    timeout(PATIENCE, names.asked.notified()).await.unwrap();
    drop(stream);
    assert_eq!(passing.written().await, unsaid());
}
