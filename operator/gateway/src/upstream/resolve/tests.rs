//! Names whose owner changes where they lead (B14): what was looked at is what is dialled, and nothing else.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use hickory_resolver::{
    config::{NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::Message,
        rr::{
            RData, Record, RecordType,
            rdata::{A, CNAME},
        },
    },
};
use tokio::net::{TcpListener, UdpSocket};
use tower::ServiceExt as _;

use super::*;
use crate::{session::lock, upstream::connector};

const NAME: &str = "docs.example";
const PUBLIC: &str = "20.0.114.80";
const PUBLIC_V6: &str = "2600:db8:1::1";
/// One of each kind that is not the internet's: this machine's, the company's, a provider's, a cloud's, IPv4 inside of IPv6
/// (mapped, compatible, NAT64, 6to4, Teredo), and a machine's neighbours.
const SPECIAL: [&str; 18] = [
    "127.0.0.1",
    "10.77.0.10",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "0.0.0.0",
    "::1",
    "::",
    "fd00:ec2::254",
    "fe80::1",
    "::ffff:20.0.114.80",
    "::20.0.114.80",
    "64:ff9b::1400:7250",
    "64:ff9b:1::1400:7250",
    "2002:1400:7250::1",
    "2001:0:1400:7250::1",
];

/// A server of names whose answers are written beforehand; the last one stays.
#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<VecDeque<Vec<IpAddr>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn of<const N: usize>(answers: [&[&str]; N]) -> Self {
        let parsed = |answer: &[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Self { answers: Arc::new(Mutex::new(answers.map(parsed).into())), asked: Arc::default() }
    }

    fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    fn resolve(&self) -> Resolve {
        Resolve::new(self.clone(), Special::default())
    }
}

impl Lookup for Script {
    fn addresses(&self, name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
        lock(&self.asked).push(name);
        let mut answers = lock(&self.answers);
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async { Ok(next.unwrap_or_default()) })
    }
}

/// What may be dialled of a name.
async fn dialled(resolve: &Resolve, name: &str) -> io::Result<Vec<String>> {
    let addresses = resolve.clone().oneshot(name.parse::<Name>().unwrap()).await?;
    Ok(addresses.map(|address| address.ip().to_string()).collect())
}

fn is_for_special_addresses(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<OnlySpecialAddresses>)
}

#[tokio::test]
async fn b14_of_addresses_outside_and_inside_only_those_outside_are_dialled() {
    for special in SPECIAL {
        for mixed in [&[PUBLIC, special][..], &[special, PUBLIC], &[special, PUBLIC, special]] {
            let script = Script::of([mixed]);
            assert_eq!(dialled(&script.resolve(), NAME).await.unwrap(), [PUBLIC], "{mixed:?}");
        }
    }
    let both = Script::of([&[PUBLIC, "10.77.0.10", PUBLIC_V6, "::1"]]);
    assert_eq!(dialled(&both.resolve(), NAME).await.unwrap(), [PUBLIC, PUBLIC_V6]);
}

#[tokio::test]
async fn b14_a_name_that_leads_inside_alone_is_refused_as_that() {
    for special in SPECIAL {
        let refused = dialled(&Script::of([&[special]]).resolve(), NAME).await.unwrap_err();
        assert!(is_for_special_addresses(&refused), "{special}: {refused}");
    }
    let refused = dialled(&Script::of([&SPECIAL]).resolve(), NAME).await.unwrap_err();
    assert!(is_for_special_addresses(&refused), "all at once: {refused}");
    let of_the_cluster = Special::with(vec!["20.0.114.0/24".parse().unwrap()]);
    let resolve = Resolve::new(Script::of([&[PUBLIC]]), of_the_cluster);
    let refused = dialled(&resolve, NAME).await.unwrap_err();
    assert!(is_for_special_addresses(&refused), "what an admin names: {refused}");
    assert_eq!(dialled(&Script::of([&[PUBLIC]]).resolve(), NAME).await.unwrap(), [PUBLIC], "the control");
}

#[tokio::test]
async fn b14_a_name_without_an_address_is_not_taken_for_one_that_leads_inside() {
    assert_eq!(dialled(&Script::of([&[]]).resolve(), NAME).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn b14_of_a_thousand_addresses_a_few_are_tried_and_those_inside_take_no_place() {
    let inside = (0..500_u32).map(|number| IpAddr::from((0x0a4d_0000 + number).to_be_bytes()));
    let outside = (0..500_u32).map(|number| IpAddr::from((0x1400_7200 + number).to_be_bytes()));
    let script = Script::of([]);
    lock(&script.answers).push_back(inside.chain(outside).collect());
    let began = Instant::now();
    let tried = dialled(&script.resolve(), NAME).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(tried.len(), TRIED);
    assert!(tried.iter().all(|address| address.starts_with("20.0.11")), "{tried:?}");
}

#[tokio::test]
async fn b14_the_address_that_was_looked_at_is_the_one_that_is_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: http::Uri = format!("http://{NAME}:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    // From the loopback nothing outside is reached, so that this test knocks at nobody's door.
    let dial = async |resolve: Resolve| {
        let mut connector = connector(resolve);
        connector.set_local_address(Some(IpAddr::from([127, 0, 0, 1])));
        connector.oneshot(uri.clone()).await
    };
    let flipping = Script::of([&[PUBLIC], &["127.0.0.1"]]);
    let first = dial(flipping.resolve()).await;
    assert!(first.is_err(), "the public address, which is not reached");
    assert_eq!(
        flipping.asked(),
        [format!("{NAME}.")],
        "one question, and none between the look and the dial"
    );
    let second = dial(flipping.resolve()).await.unwrap_err();
    let causes = std::iter::successors(std::error::Error::source(&second), |cause| (*cause).source());
    let mut texts = causes.map(ToString::to_string);
    assert!(texts.any(|text| text == OnlySpecialAddresses.to_string()), "{second:?}");
    assert_eq!(flipping.asked().len(), 2, "what was looked at once is not taken for good for ever");
    let none = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(none.is_err(), "this machine was dialled");

    // The control: where an address inside may be dialled, it is.
    let service = Script::of([&["127.0.0.1"]]);
    let anywhere = service.resolve().of_services(Special::only(Vec::new()));
    let (dialled, accepted) = tokio::join!(dial(anywhere), listener.accept());
    dialled.unwrap();
    accepted.unwrap();
    assert_eq!(service.asked(), [format!("{NAME}.cluster.local.")], "services are the cluster's");
    let at_node = dial(service.resolve().of_services(Special::of_nodes())).await;
    assert!(at_node.is_err(), "whoever wrote its endpoints, a service is not at the node");
}

/// Asks this server, with this search list.
fn asking(server: SocketAddr, search: &[&str]) -> Resolve {
    let mut servers = NameServerConfig::udp(server.ip());
    for connection in &mut servers.connections {
        connection.port = server.port();
    }
    let search = search.iter().map(|name| name.parse().unwrap()).collect();
    let config = ResolverConfig::from_parts(None, search, vec![servers]);
    let domain = cluster(config.search());
    let resolver =
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
    Resolve::new(resolver, Special::default()).in_cluster(domain.as_deref())
}

/// Answers every question for the addresses of a name with another name's, as far as `aliases` say so, and its address.
async fn name_server(aliases: &'static [(&'static str, &'static str, [u8; 4])]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut query = [0; 4_096];
        loop {
            let (length, client) = socket.recv_from(&mut query).await.unwrap();
            let query = Message::from_vec(&query[..length]).unwrap();
            let question = &query.queries[0];
            let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
            answer.metadata.recursion_desired = true;
            answer.metadata.recursion_available = true;
            answer.add_query(question.clone());
            let asked = question.name().to_ascii().to_lowercase();
            for (_, alias, address) in aliases.iter().filter(|(name, ..)| format!("{name}.") == asked) {
                let alias = format!("{alias}.").parse::<hickory_resolver::proto::rr::Name>().unwrap();
                let record = |owner, data| Record::from_rdata(owner, 0, data);
                answer.add_answer(record(question.name().clone(), RData::CNAME(CNAME(alias.clone()))));
                if question.query_type() == RecordType::A {
                    answer.add_answer(record(alias, RData::A(A::from(std::net::Ipv4Addr::from(*address)))));
                }
            }
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn b14_an_alias_is_as_good_as_where_it_leads() {
    let server = name_server(&[
        ("inside.example", "intranet.company.example", [10, 77, 0, 10]),
        ("metadata.example", "metadata.cloud.example", [169, 254, 169, 254]),
        ("outside.example", "edge.provider.example", [20, 0, 114, 80]),
    ])
    .await;
    let resolve = asking(server, &[]);
    for name in ["inside.example", "metadata.example"] {
        let refused = dialled(&resolve, name).await.unwrap_err();
        assert!(is_for_special_addresses(&refused), "{name}: {refused}");
    }
    assert_eq!(dialled(&resolve, "outside.example").await.unwrap(), [PUBLIC], "the control");
}

#[test]
fn the_clusters_domain_is_the_kubelets_word() {
    for (search, expected) in [
        (
            &["ws-system.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"][..],
            Some("cluster.local"),
        ),
        (&["ws-system.svc.K8s.acme.example.", "svc.k8s.acme.example."], Some("k8s.acme.example")),
        (&["svc.cluster.local"], Some("cluster.local")),
        (&["corp.example", "example"], None),
        (&["svc", "a.svc"], None),
        (&[], None),
    ] {
        let search: Vec<rr::Name> = search.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(cluster(&search).as_deref(), expected, "{search:?}");
    }
}

#[tokio::test]
async fn b14_a_service_that_the_cluster_does_not_know_is_asked_for_nowhere_else() {
    let anywhere = || Special::only(Vec::new());
    // What a company's wildcard makes of the name of a service.
    let server = name_server(&[
        ("ollama.models.svc.corp.example", "evil.corp.example", [10, 77, 0, 10]),
        ("ollama.models.svc", "evil.corp.example", [10, 77, 0, 10]),
        ("vllm.models.svc.k8s.acme.example", "vllm.acme.example", [10, 96, 0, 17]),
    ])
    .await;
    let search =
        ["ws-system.svc.k8s.acme.example", "svc.k8s.acme.example", "k8s.acme.example", "corp.example"];
    let services = asking(server, &search).of_services(anywhere());
    let found = dialled(&services, "ollama.models.svc").await;
    assert!(found.as_ref().is_ok_and(Vec::is_empty) || found.is_err(), "{found:?}");
    assert_eq!(dialled(&services, "vllm.models.svc").await.unwrap(), ["10.96.0.17"], "the control");
}
