//! Red team, B25: a workspace that takes all it can get, beside one that does not.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::json;
use ws_tests::{
    audit::Audit,
    class::{self, reading},
    namespace::with_namespace,
    project::Project,
    ws::Ws,
};

/// Connections that the gateway has open with one address.
const CONNECTIONS: usize = 64;

/// Asks in vain through the agent, and past it opens connections that begin a request and do not end it. Before, it has more requests under
/// way on HTTP/2 than the 256 that it may. Prints how often it was denied, how many connections the gateway took and how many it closed, the most that
/// were open at a time, and how many requests were put off.
const FLOOD: &str = r#"
cat > /tmp/busy.js <<'END'
const net = require('net'), tls = require('tls'), h2 = require('http2');
const [address, port] = process.env.HTTPS_PROXY.split('//')[1].split(':');
const host = 'docs.example';
let busy = 0;
for (let number = 0; number < 4; number++) {
  const tunnel = net.connect(port, address, () => tunnel.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`));
  tunnel.on('error', () => 0).once('data', () => {
    const secure = tls.connect({ socket: tunnel, servername: host, ALPNProtocols: ['h2'], rejectUnauthorized: false }, () => {
      const session = h2.connect(`https://${host}`, { createConnection: () => secure });
      session.on('error', () => 0);
      for (let stream = 0; stream < 100; stream++) {
        const asked = session.request({ ':path': '/slow' });
        asked.on('error', () => 0).on('response', head => { busy += head[':status'] === 429; asked.resume(); });
      }
    });
    secure.on('error', () => 0);
  });
}
setTimeout(() => { console.log(busy); process.exit(0); }, 8000);
END
timeout 45 python3 - <<'END'
import json, os, socket, subprocess, threading, time
address, port = os.environ["HTTPS_PROXY"].split("//")[1].split(":")
busy = int(subprocess.run(["node", "/tmp/busy.js"], capture_output=True, timeout=30).stdout)
end, denied, opened, closed, most, held = time.time() + 20, 0, 0, 0, 0, []
lock = threading.Lock()
def deny():
    global denied
    while time.time() < end:
        try:
            stream = socket.create_connection((address, int(port)), 2)
            stream.sendall(b"CONNECT flood.example:443 HTTP/1.1\r\nHost: flood.example\r\n\r\n")
            denied += bool(stream.recv(64))
            stream.close()
        except OSError: pass
def hold():
    global opened
    while time.time() < end and opened < 4000:
        try:
            stream = socket.create_connection((os.environ["GATEWAY"], 3128), 2)
            stream.sendall(b"GET http://flood.example/ HTTP/1.1\r\nX: ")
            stream.setblocking(False)
            with lock:
                opened += 1
                held.append(stream)
        except OSError: pass
def is_open(stream):
    try:
        stream.recv(1024)
    except BlockingIOError:
        return True
    except OSError: pass
    return False
def count():
    global closed, held, most
    while time.time() < end:
        # What was opened just now may be closed already, and it is not known here yet.
        with lock: looked_at, held = held, []
        time.sleep(1)
        still = [stream for stream in looked_at if is_open(stream)]
        closed += len(looked_at) - len(still)
        most = max(most, len(still))
        with lock: held += still
threads = [threading.Thread(target=work) for work in [deny] * 8 + [hold] * 4 + [count]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"denied": denied, "opened": opened, "closed": closed, "most": most, "busy": busy}))
END"#;
/// Asks for what a rule allows, and prints status and time.
const CALM: &str = "for _ in $(seq 40); do curl -s -o /dev/null --max-time 5 -w '%{http_code} %{time_total}\\n' https://docs.example/; sleep 0.4; done";

/// What a flood says of itself.
#[derive(Debug, Deserialize)]
struct Flood {
    denied: u64,
    opened: usize,
    closed: usize,
    most: usize,
    busy: usize,
}

/// How long each question of a calm workspace took, in seconds, the quickest first.
async fn calm(ws: &Ws) -> Result<Vec<f64>> {
    let calm = ws.bash("calm", CALM).await?.ok()?;
    let answers = calm.stdout.lines().filter_map(|line| line.split_once(' '));
    let answers: Vec<(&str, f64)> =
        answers.filter_map(|(status, time)| Some((status, time.parse().ok()?))).collect();
    ensure!(answers.len() == 40 && answers.iter().all(|(status, _)| *status == "200"), "{calm}");
    let mut times: Vec<f64> = answers.into_iter().map(|(_, time)| time).collect();
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn median(times: &[f64]) -> Result<f64> {
    times.get(times.len() / 2).copied().context("no times")
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b25_a_workspace_that_floods_the_gateway_leaves_the_others_theirs() -> Result<()> {
    // The promise is a tenth. Two processors have to do the flood's work as well.
    const SLOWER: f64 = 10.0;
    const SLACK: f64 = 0.2;
    with_namespace(async |lab, namespace| {
        let rules = json!([reading("docs", &["docs.example"])]);
        let class = class::create(lab, json!({"egress": {"rules": rules}})).await?;
        let (ws, audit) = (Ws::new(lab, namespace)?, Audit::of(lab, namespace, "loud"));
        let of_calm = Audit::of(lab, namespace, "calm");
        for name in ["loud", "calm"] {
            let up = ["up", "--name", name, "--class", &class, "--detach"];
            ws.run_in(Project::empty()?.path(), &up).await?.ok()?;
        }
        let before = median(&calm(&ws).await?)?;
        // Through its agent, and past it.
        let gateway = lab.fields(lab.ws_namespace(), "service/ws-gateway", "{.spec.clusterIP}").await?;
        let flood = format!("export GATEWAY={gateway}\n{FLOOD}");
        let (loud, beside) = tokio::try_join!(ws.bash("loud", &flood), calm(&ws))?;
        let flood: Flood =
            serde_json::from_str(&loud.clone().ok()?.stdout).with_context(|| loud.to_string())?;
        ensure!(flood.denied > 500, "it floods: {flood:?}");
        ensure!(flood.most > 0 && flood.most <= CONNECTIONS, "at a time {} were open", flood.most);
        ensure!(flood.opened > 4 * CONNECTIONS && flood.closed > CONNECTIONS, "it got its limit: {flood:?}");
        ensure!(flood.busy > 0, "none of its requests was put off: {flood:?}");
        let slow = beside.iter().filter(|time| **time > 2.0).count();
        ensure!(slow <= 1, "{slow} of {} took more than two seconds: {beside:?}", beside.len());
        let during = median(&beside)?;
        ensure!(during < before * SLOWER + SLACK, "half took {during} seconds, and {before} before");
        // What is kept for the user is bounded, and so is what is written: it has lines that stand for many.
        let told = ws.run(&["egress", "loud", "--json"]).await?.ok()?;
        ensure!(told.stdout.lines().count() <= 256, "what is kept is bounded");
        audit.holds_nothing_that_was_sent(&ws, &[]).await?;
        let log = audit.log().await?;
        let sums =
            log.iter().filter(|line| line["host"].is_null() && line["count"].as_u64() > Some(1)).count();
        let denials = log.iter().filter(|line| line["decision"] == "denied").count();
        ensure!(sums > 0 && denials < 200, "{sums} sums among {denials} lines");
        of_calm.is(&ws, &[("docs.example", "docs", 80)]).await?;
        class::delete(lab, &class).await
    })
    .await
}
