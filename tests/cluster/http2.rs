//! Red team, B05: what HTTP/2 has and HTTP/1.1 has not.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    audited::are_told,
    way_out::{Out, reading, with_rules},
};

const HOST: &str = "docs.example";

/// Speaks HTTP/2 to `$1` and begins a head that does not end (RFC 9113 §6.10); prints after how many bytes the gateway ended it.
const ENDLESS: &str = r#"python3 - "$1" <<'END'
import os, socket, ssl, sys
host = sys.argv[1]
address, port = os.environ["HTTPS_PROXY"].split("//")[1].split(":")
stream = socket.create_connection((address, int(port)), 10)
stream.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += stream.recv(1)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols(["h2"])
stream = context.wrap_socket(stream, server_hostname=host)
assert stream.selected_alpn_protocol() == "h2"

def frame(kind, flags, number, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + payload

# A field that no table takes in, of a name of one byte and a value of 126 (RFC 7541 section 6.2.2).
fields = (b"\x00\x01x\x7e" + b"y" * 126) * 126
sent = 0
try:
    stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 0, 1, fields))
    while sent < 256 << 20:
        stream.sendall(frame(9, 0, 1, fields))
        sent += len(fields)
    print("never ended")
except OSError:
    print("ended after", sent)
END
"#;

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
        for (headers, expected) in [
            (get(json!({":authority": "hidden.example"})), "421 misdirected "),
            (get(json!({"host": "hidden.example"})), "421 misdirected "),
            (get(json!({":authority": "api.example"})), "421 misdirected "),
            (get(json!({":authority": "docs.example:8443"})), "421 misdirected "),
            (get(json!({":scheme": "http"})), "400 malformed "),
        ] {
            let answer = http2(out, &headers, "").await?;
            ensure!(answer.starts_with(expected), "{headers}: {answer}");
        }
        let expected =
            [("hidden.example", "misdirected"), ("api.example", "misdirected"), (HOST, "malformed")];
        are_told(out, &expected).await?;
        ensure!(!out.lab.resolved()?.contains("hidden.example."), "a name was asked for");
        let before = most_resident()?;
        let began = Instant::now();
        // Whether they are taken back before they are taken or after, which ends the connection or is served: it costs no room.
        let reset = http2(out, &get(json!({})), "reset").await?;
        ensure!(!reset.contains("nothing"), "20,000 streams that are taken back: {reset}");
        let endless = out.bash(&format!("set -- {HOST}\n{ENDLESS}")).await?.ok()?;
        let sent: u64 =
            endless.stdout.trim().strip_prefix("ended after ").context(endless.to_string())?.parse()?;
        // What is on its way when the gateway ends it waits in kernels.
        ensure!(sent < 16 << 20, "a head that does not end: {sent} bytes of it");
        ensure!(began.elapsed() < Duration::from_secs(40), "both end soon: {:?}", began.elapsed());
        let grown = most_resident()?.saturating_sub(before);
        ensure!(grown < 64 << 10, "a gateway grew by {grown} KiB");
        let after = http2(out, &get(json!({})), "").await?;
        ensure!(after.starts_with("200 "), "it goes on for others: {after}");
        Ok(())
    })
    .await
}

/// The most that a gateway has ever had in memory, in KiB: the lab's run on this machine.
fn most_resident() -> Result<u64> {
    let mut most = None;
    for process in fs::read_dir("/proc")? {
        let folder = process?.path();
        // Processes end while others are looked at.
        let Ok(status) = fs::read_to_string(folder.join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("Name:") == Some("ws-gateway") {
            let resident = field("VmHWM:").and_then(|size| size.split(' ').next()).context("no size")?;
            most = most.max(Some(resident.parse()?));
        }
    }
    most.context("no gateway runs")
}
