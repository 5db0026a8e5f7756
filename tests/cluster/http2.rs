//! Red team, B05: what HTTP/2 has and HTTP/1.1 has not.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{class::reading, probe::canary, tunnel::with_connect};

use crate::{
    audited::these_alone_are_told,
    spellings::arrived,
    way_out::{Out, with_rules},
};

const HOST: &str = "docs.example";
/// How heads of answers begin that say 200 and 404 (RFC 7541 appendix A).
const ANSWERED: [&str; 2] = ["answer 88", "answer 8d"];

/// Speaks HTTP/2 to the host and begins a head that does not end (RFC 9113 §6.10); prints after how many bytes the gateway ended it.
const ENDLESS: &str = r#"
import sys
stream = connect(sys.argv[1], protocols=["h2"])
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

/// Sends each list of fields of standard input as the head of a request by HTTP/2 to the host, as no library does. Prints what came first
/// of each: the first byte of the answer's head, or what ended it.
const FIELDS: &str = r#"
import json, sys
host = sys.argv[1]

def exactly(stream, size):
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            raise OSError("it broke off")
        data += piece
    return data

def frame(kind, flags, number, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + number.to_bytes(4, "big") + payload

def literal(text):
    # Shorter than 127 bytes, so that the length is one (RFC 7541 section 5.1).
    return bytes([len(text)]) + text.encode()

def ask(fields):
    stream = connect(host, protocols=["h2"])
    block = b"".join(b"\0" + literal(name) + literal(value) for name, value in fields)
    try:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 5, 1, block))
        while True:
            head = exactly(stream, 9)
            payload = exactly(stream, int.from_bytes(head[:3], "big"))
            if head[3] in (1, 3, 7):
                return {1: "answer ", 3: "reset ", 7: "goaway "}[head[3]] + payload[:1].hex()
    except OSError as error:
        return f"error {error}"

print(json.dumps([ask(fields) for fields in json.load(sys.stdin)]))
"#;

pub(crate) async fn http2(out: &Out<'_>, headers: &Value, mode: &str) -> Result<String> {
    let line = format!("set -- {HOST} '{headers}' '{mode}'\n{HTTP2}");
    Ok(out.bash(&line).await?.ok()?.stdout)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b05_http2_has_one_authority_and_its_floods_end() -> Result<()> {
    // What is said of the other host is not for this connection, also where a rule names it.
    with_rules(json!([reading("docs", &[HOST, "api.example"])]), async |out| {
        let (hidden, shown) = (format!("/{}", canary()?), format!("/{}", canary()?));
        let get = |more: Value| {
            let mut headers =
                json!({":method": "GET", ":path": hidden, ":scheme": "https", ":authority": HOST});
            headers
                .as_object_mut()
                .into_iter()
                .for_each(|headers| headers.extend(more.as_object().cloned().unwrap_or_default()));
            headers
        };
        let page = get(json!({":path": "/"}));
        let allowed = http2(out, &page, "").await?;
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
        let asked = http2(out, &get(json!({":path": shown})), "").await?;
        ensure!(
            asked.starts_with("404 ") && out.lab.asked(&shown)?.len() == 1,
            "the control arrives: {asked}"
        );
        let arrived = arrived(out, &hidden[1..])?;
        ensure!(arrived.is_empty() && !out.lab.has_sunk(&hidden[1..])?, "of others arrived {arrived:?}");
        let expected = [
            (HOST, "docs", 2),
            ("hidden.example", "misdirected", 1),
            (HOST, "misdirected", 1),
            ("api.example", "misdirected", 1),
            ("docs.example:8443", "misdirected", 1),
            (HOST, "malformed", 1),
        ];
        these_alone_are_told(out, &expected).await?;
        ensure!(!out.lab.resolved()?.contains("hidden.example."), "a name was asked for");
        let before = resident_from_now_on()?;
        let began = Instant::now();
        // Whether they are taken back before they are taken or after, which ends the connection or is served: it costs no room.
        let reset = http2(out, &page, "reset").await?;
        ensure!(!reset.contains("nothing"), "20,000 streams that are taken back: {reset}");
        let endless = with_connect(ENDLESS);
        let endless = out.ws.run(&["attach", "out", "--", "python3", "-c", &endless, HOST]).await?.ok()?;
        let sent: u64 =
            endless.stdout.trim().strip_prefix("ended after ").context(endless.to_string())?.parse()?;
        // What is on its way when the gateway ends it waits in kernels.
        ensure!(sent < 16 << 20, "a head that does not end: {sent} bytes of it");
        ensure!(began.elapsed() < Duration::from_secs(40), "both end soon: {:?}", began.elapsed());
        for (gateway, before) in before {
            let grown = size(&gateway, "VmHWM:")?.saturating_sub(before);
            ensure!(grown < 64 << 10, "a gateway grew by {grown} KiB");
        }
        let after = http2(out, &page, "").await?;
        ensure!(after.starts_with("200 "), "it goes on for others: {after}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b10_no_request_hides_in_the_fields_of_http2() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let (hidden, shown) = (format!("/{}", canary()?), format!("/{}", canary()?));
        let head = |path: &str| {
            [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec()
        };
        let with = |name: &str, value: &str| [head(&hidden), vec![(name.into(), value.into())]].concat();
        let replaced = |name: &str, value: &str| {
            let mut head = head(&hidden);
            head.iter_mut().filter(|field| field.0 == name).for_each(|field| value.clone_into(&mut field.1));
            head
        };
        let second = format!("x\r\n\r\nGET {hidden} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let mut after = head(&hidden);
        after.insert(0, ("accept".into(), "x".into()));
        let smuggled = [
            with("accept", "x\r\nHost: hidden.example"),
            with("accept", &second),
            with("accept", "x\ny: z"),
            with("accept", "x\0y"),
            with("accept\r\ny", "x"),
            with("accept: x\r\ny", "x"),
            with("Accept", "x"),
            with("transfer-encoding", "chunked"),
            with("connection", "close"),
            with("keep-alive", "timeout=9"),
            with("proxy-connection", "keep-alive"),
            with("upgrade", "h2c"),
            with("te", "gzip"),
            with(":path", &hidden),
            with(":authority", HOST),
            with(":unknown", "x"),
            replaced(":path", &format!("{hidden} HTTP/1.1\r\nHost: hidden.example\r\n\r\n")),
            replaced(":method", &format!("GET {hidden} HTTP/1.1\r\nx: y")),
            replaced(":authority", &format!("{HOST}\r\nx: y")),
            after,
        ];
        let ask = async |requests: &[Vec<(String, String)>]| -> Result<Vec<String>> {
            let fields = with_connect(FIELDS);
            let arguments = ["attach", "out", "--", "python3", "-c", &fields, HOST];
            let asked = out.ws.run_with_input(serde_json::to_vec(requests)?, &arguments).await?.ok()?;
            Ok(serde_json::from_str(&asked.stdout)?)
        };
        let answers = ask(&smuggled).await?;
        ensure!(answers.len() == smuggled.len(), "{answers:?}");
        for (fields, answer) in smuggled.iter().zip(&answers) {
            ensure!(!ANSWERED.contains(&answer.as_str()), "{fields:?}: {answer}");
        }
        ensure!(arrived(out, &hidden[1..])?.is_empty(), "one arrived: {:?}", arrived(out, &hidden[1..])?);
        // What is no request is not decided on: it ends on its connection.
        let answered = answers.iter().filter(|answer| answer.starts_with("answer ")).count();
        out.audit.refuses(&out.ws, answered).await?;
        let control = ask(&[head(&shown)]).await?;
        ensure!(control == [ANSWERED[1]], "the control: {control:?}");
        ensure!(arrived(out, &shown[1..])?.len() == 1, "the control arrives");
        these_alone_are_told(out, &[(HOST, "docs", 1)]).await
    })
    .await
}

/// What gateways of the lab, which run on this machine, have in memory, in KiB. The most that they ever have counts from now on.
fn resident_from_now_on() -> Result<BTreeMap<PathBuf, u64>> {
    let mut gateways = BTreeMap::new();
    for process in fs::read_dir("/proc")? {
        let folder = process?.path();
        // Processes end while others are looked at.
        let Ok(status) = fs::read_to_string(folder.join("status")) else { continue };
        if status.lines().next() == Some("Name:\tws-gateway") {
            // proc_pid_clear_refs(5)
            fs::write(folder.join("clear_refs"), "5")?;
            gateways.insert(folder.clone(), size(&folder, "VmRSS:")?);
        }
    }
    ensure!(!gateways.is_empty(), "no gateway runs");
    Ok(gateways)
}

/// A size of a process, in KiB.
fn size(process: &Path, name: &str) -> Result<u64> {
    let status = fs::read_to_string(process.join("status"))?;
    let size = status.lines().find_map(|line| line.strip_prefix(name)).context("no size")?;
    Ok(size.trim().split(' ').next().unwrap_or_default().parse()?)
}
