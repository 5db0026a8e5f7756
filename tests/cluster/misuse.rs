//! Red team, group B: what a workspace asks of the gateway that it should not (B01, B02, B07, B13), and how it is told
//! (`ws egress`).

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    class::reading,
    probe::canary,
    raw::{Vector, answers},
    wait::{PATIENCE, eventually},
};

use crate::{
    audited::{are_told, each_refusal_is_told, these_alone_are_told},
    names::ZONE,
    spellings::arrived,
    way_out::{Out, with_rules},
};

const HOST: &str = "docs.example";

/// The address of the gateway's Service.
async fn gateway(out: &Out<'_>) -> Result<String> {
    out.lab.fields(out.lab.ws_namespace(), "service/ws-gateway", "{.spec.clusterIP}").await
}

/// What the gateway answers a CONNECT.
fn connect(target: &str) -> Vector {
    Vector::plain(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"))
}

pub(crate) fn is_refused(answer: &str) -> bool {
    let status = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
    status.is_some_and(|status| ["400 ", "403 ", "421 "].iter().any(|refusal| status.starts_with(refusal)))
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b01_a_tunnel_and_a_request_lead_only_where_a_rule_leads() -> Result<()> {
    let mut plain = reading("plain", &["static.docs.example"]);
    plain["scheme"] = "http".into();
    // Names of this test's own, so that who asked for them is known.
    let (denied, allowed) = (format!("{}.{ZONE}", canary()?), format!("{}.{ZONE}", canary()?));
    let rules = json!([reading("docs", &[HOST]), plain, reading("control", &[&allowed])]);
    with_rules(rules, async |out| {
        let gateway = gateway(out).await?;
        let cluster = out.lab.fields("default", "service/kubernetes", "{.spec.clusterIP}").await?;
        let mut targets: Vec<String> = [
            "docs.example:80",
            "docs.example:22",
            "docs.example:8443",
            "docs.example:0",
            "docs.example:65536",
            "docs.example",
            "hidden.example:443",
            "127.0.0.1:443",
            "127.0.0.1:3127",
            "127.0.0.1:3128",
            "localhost:443",
            "localhost.:443",
            "[::1]:443",
            "0.0.0.0:443",
            "169.254.169.254:80",
            "kubernetes.default.svc:443",
            "ws-gateway.ws-system.svc:3128",
            "gateway.ws.internal:80",
            "gateway.ws.internal:3128",
            "20.0.114.80:443",
        ]
        .map(str::to_owned)
        .into();
        targets.extend([format!("{gateway}:3128"), format!("{gateway}:3129"), format!("{cluster}:443")]);
        targets.push(format!("{denied}:443"));
        let mut vectors: Vec<_> = targets.iter().map(|target| connect(target)).collect();
        // Without a tunnel, to another port of a host that a rule names.
        let request = |port: u16| {
            let host = format!("static.docs.example:{port}");
            Vector::plain(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        };
        for port in [443, 8080] {
            targets.push(format!("port {port}"));
            vectors.push(request(port));
        }
        let refusals = answers(&out.ws, "out", &vectors).await?;
        for (target, answer) in targets.iter().zip(&refusals) {
            ensure!(is_refused(answer), "{target}: {answer}");
        }
        each_refusal_is_told(out, &refusals).await?;
        let expected = [
            (HOST, "port-not-allowed"),
            ("static.docs.example", "port-not-allowed"),
            (denied.as_str(), "host-not-allowed"),
            ("localhost", "host-not-allowed"),
            ("127.0.0.1", "ip-literal"),
            ("169.254.169.254", "ip-literal"),
            (gateway.as_str(), "ip-literal"),
        ];
        are_told(out, &expected).await?;
        let opened = answers(&out.ws, "out", &[connect("docs.example:443")]).await?;
        ensure!(opened[0].starts_with("HTTP/1.1 200 "), "the control: {opened:?}");
        let fetched = answers(&out.ws, "out", &[request(80)]).await?;
        ensure!(fetched[0].contains("ws-lab docs"), "the control: {fetched:?}");
        out.bash(&format!("curl -sS https://{allowed}/; true")).await?.ok()?;
        let resolved = out.lab.resolved()?;
        ensure!(
            resolved.contains(&format!("{allowed}.")),
            "the control: a name that a rule names is asked for"
        );
        ensure!(!out.lab.has_resolved(denied.split('.').next().unwrap_or_default())?, "a name was asked for");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b02_plain_http_is_no_way_around_a_rule_for_https() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let path = format!("/{}", canary()?);
        let request = |line: &str, host: &str| Vector::plain(format!("{line}\r\n{host}\r\n"));
        let vectors = [
            request(&format!("GET http://{HOST}{path} HTTP/1.1"), &format!("Host: {HOST}\r\n")),
            request(&format!("get http://{HOST}{path} HTTP/1.1"), &format!("Host: {HOST}\r\n")),
            request(&format!("GET http://{HOST}:443{path} HTTP/1.1"), &format!("Host: {HOST}\r\n")),
            request(&format!("GET {path} HTTP/1.1"), &format!("Host: {HOST}\r\n")),
            request(&format!("GET {path} HTTP/1.0"), ""),
            request(&format!("GET http://telemetry.example{path} HTTP/1.1"), &format!("Host: {HOST}\r\n")),
            request(&format!("GET ftp://{HOST}{path} HTTP/1.1"), &format!("Host: {HOST}\r\n")),
            Vector::within(HOST, format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).without_tls(),
        ];
        let refusals = answers(&out.ws, "out", &vectors).await?;
        for answer in &refusals {
            ensure!(is_refused(answer), "{answer}");
        }
        each_refusal_is_told(out, &refusals).await?;
        let expected = [
            (HOST, "port-not-allowed"),
            (HOST, "scheme-not-allowed"),
            ("telemetry.example", "host-not-allowed"),
        ];
        are_told(out, &expected).await?;
        let short = answers(&out.ws, "out", &[Vector::plain(format!("GET {path}\r\n\r\n"))]).await?;
        ensure!(!short[0].contains("200"), "{short:?}");
        ensure!(out.lab.asked(&path)?.is_empty(), "{:?}", out.lab.asked(&path)?);
        out.bash(&format!("curl -sS https://{HOST}{path}")).await?.ok()?;
        ensure!(out.lab.asked(&path)?.len() == 1, "the control arrives");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b07_a_tunnel_that_is_looked_into_carries_nothing_else() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let canary = canary()?;
        let vectors = [
            Vector::within(HOST, format!("SSH-2.0-{canary}\r\n")).without_tls(),
            Vector::within(HOST, format!("\0\x01{canary}\r\n\r\n")).without_tls(),
            Vector::within(HOST, format!("\x05\x01\0{canary}")).without_tls(),
            Vector::within(HOST, format!("\x16\x03\x01\x02\0{canary}")).without_tls(),
            Vector::within(HOST, format!("SSH-2.0-{canary}\r\n")),
            Vector::within(HOST, format!("\x16\x03\x01\x02\0{canary}")),
            Vector::within(
                HOST,
                format!(
                    "GET /{canary} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n{canary}"
                ),
            ),
        ];
        let refusals = answers(&out.ws, "out", &vectors).await?;
        for answer in &refusals {
            let is_alert = answer.starts_with('\u{15}');
            ensure!(answer.is_empty() || is_alert || is_refused(answer), "{answer}");
        }
        each_refusal_is_told(out, &refusals).await?;
        are_told(out, &[(HOST, "not-tls")]).await?;
        ensure!(arrived(out, &canary)?.is_empty(), "something arrived");
        let request = format!("GET /{canary} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let control = answers(&out.ws, "out", &[Vector::within(HOST, request)]).await?;
        ensure!(arrived(out, &canary)?.len() == 1, "the control, a request, arrives: {control:?}");
        these_alone_are_told(out, &[(HOST, "docs", 1)]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b13_who_passes_on_requests_within_the_pod_gets_the_same_answers() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        const RELAY: &str = r#"
cat > /tmp/relay.py <<'END'
import os, socket, threading
gateway = os.environ["HTTPS_PROXY"].split("//")[1].split(":")
server = socket.create_server(("127.0.0.1", 8888))
def pump(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
    except OSError: pass
    b.close()
while True:
    inside, _ = server.accept()
    outside = socket.create_connection((gateway[0], int(gateway[1])))
    for pair in ((inside, outside), (outside, inside)): threading.Thread(target=pump, args=pair, daemon=True).start()
END
python3 /tmp/relay.py & relay=$!
for _ in $(seq 50); do (: > /dev/tcp/127.0.0.1/8888) 2>/dev/null && break; sleep 0.1; done
for host in docs.example hidden.example; do curl -sS -x http://127.0.0.1:8888 -o /dev/null -w "$host %{http_connect}\n" https://$host/; done
kill $relay"#;
        let relayed = out.bash(RELAY).await?;
        ensure!(relayed.stdout == "docs.example 200\nhidden.example 403\n", "{relayed}");
        these_alone_are_told(out, &[(HOST, "docs", 1), ("hidden.example", "host-not-allowed", 1)]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn who_goes_past_the_agent_is_nobody_to_the_gateway() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let gateway = gateway(out).await?;
        let by = |proxy: &str| format!("curl -sS -i --max-time 20 -x {proxy} https://{HOST}/; true");
        let past = out.bash(&by(&format!("http://{gateway}:3128"))).await?.ok()?;
        // It is nobody's decision: nothing of it is told this workspace.
        ensure!(past.stdout.contains("x-ws-denied: not-the-agent"), "{past}");
        ensure!(!past.stdout.contains("ws-lab docs"), "{past}");
        let control = out.bash(&by("$HTTPS_PROXY")).await?.ok()?;
        ensure!(control.stdout.contains("ws-lab docs"), "the control: {control}");
        these_alone_are_told(out, &[(HOST, "docs", 1)]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn the_user_sees_each_decision_from_the_gateway_itself() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        out.bash(&format!("curl -sS https://{HOST}/some/page; curl -s https://telemetry.example/; true"))
            .await?
            .ok()?;
        let shown = out.ws.run(&["egress", "out"]).await?.ok()?;
        let lines: Vec<&str> = shown.stdout.lines().collect();
        ensure!(
            lines.iter().any(|line| line.contains("allowed  GET docs.example/**  404  rule docs")),
            "{shown}"
        );
        ensure!(
            lines.iter().any(|line| line.contains("denied   CONNECT telemetry.example  host-not-allowed")),
            "{shown}"
        );
        let json = out.ws.run(&["egress", "out", "--json"]).await?.ok()?;
        let first: Value = serde_json::from_str(json.stdout.lines().next().context("a line")?)?;
        ensure!(first["seq"] == 1, "{json}");
        // A workspace that answers in the gateway's place is found out.
        let authority = out.lab.fields(out.namespace, "workspace/out", "{.status.egress.authority}").await?;
        let status_is = async |status: Value| {
            let patch = ["patch", "workspace", "out", "--subresource=status", "--type=merge", "-p"];
            let status = status.to_string();
            let patch = [&["-n", out.namespace], &patch[..], &[&status]].concat();
            out.lab.kubectl(&patch).await?.ok().map(drop)
        };
        // The gateway writes it down anew with what was decided last.
        eventually(PATIENCE, "a status without the authority", async || {
            status_is(json!({"status": {"egress": {"authority": null}}})).await?;
            let unknown = out.ws.run(&["egress", "out"]).await?.code(1)?;
            ensure!(unknown.stderr.contains("does not say how to know its gateway"), "{unknown}");
            anyhow::Ok(Some(()))
        })
        .await?;
        status_is(json!({"status": {"egress": {"authority": authority}}})).await
    })
    .await
}
