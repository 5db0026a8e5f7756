//! Red team A11: a model server in the cluster, set up as `docs/examples/model-server.yaml` says. Workspaces ask it through the
//! gateway, for what a rule lets them ask, and it reaches nobody.

use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::sync::Mutex;
use ws_tests::{
    lab::Lab,
    pod::{bare_pod, changed, start},
    probe::{INTERNET, Kind, Target, canary, from_pod, from_workspace, open_pod},
    wait::{PATIENCE, eventually},
};

use crate::{
    egress::{COMPANY, OPEN, arrivals_from, nothing_arrived_from},
    lateral::DNS_QUESTION,
    names::ZONE,
    way_out::{Out, with_rules},
};

const EXAMPLE: &str = include_str!("../../docs/examples/model-server.yaml");
pub(crate) const NAMESPACE: &str = "models";
pub(crate) const NAME: &str = "ollama";
pub(crate) const PORT: u16 = 11_434;
/// The gateway may reach servers in one namespace, so that one test at a time has it.
static NAMESPACE_IS_TAKEN: Mutex<()> = Mutex::const_new(());
/// In a model server's place: answers whatever it is asked, and prints it.
const SERVER: &str = r#"
import http.server
class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        asked = self.rfile.read(int(self.headers["content-length"]))
        print(self.path, asked.decode(), flush=True)
        self.answer(b'{"message": {"role": "assistant", "content": "from the cluster"}}')
    def do_GET(self):
        self.answer(b"{}")
    def log_message(self, *_):
        pass
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 11434), Model).serve_forever()
"#;

/// The example with a server that this machine can run, for as long as the test takes.
pub(crate) async fn with_server(
    lab: &Lab,
    command: &[&str],
    test: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let _taken = NAMESPACE_IS_TAKEN.lock().await;
    let (objects, _) = EXAMPLE.split_once("---\napiVersion: apps/v1").context("a Deployment comes last")?;
    let outcome = async {
        lab.kubectl_with(&["apply", "-f", "-"], objects).await?.ok()?;
        let pod = bare_pod(NAME, &lab.workspace_image().await?, command);
        start(lab, NAMESPACE, &changed(pod, &[("/metadata/labels", json!({"app": NAME}))])?).await?;
        test().await
    }
    .await;
    lab.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found"]).await?.ok()?;
    outcome
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a11_a_model_server_answers_workspaces_and_reaches_nobody() -> Result<()> {
    let rules = json!([{
        "name": "local", "preset": "ollama", "models": ["gpt-oss:20b"],
        "service": {"namespace": NAMESPACE, "name": NAME, "port": PORT},
    }]);
    with_rules(rules, async |out| {
        with_server(out.lab, &["python3", "-c", SERVER], async || {
            let began = SystemTime::now();
            let ask = async |path: &str, body: &str| {
                let url = format!("http://{NAME}.{NAMESPACE}.svc:{PORT}{path}");
                out.bash(&format!(
                    "curl -sS -i --max-time 20 {url} -H 'content-type: application/json' -d '{body}'"
                ))
                .await
            };
            let canary = canary()?;
            let messages = |model: &str| {
                json!({"model": model, "messages": [{"role": "user", "content": canary}]}).to_string()
            };
            eventually(PATIENCE, "an answer of the model", async || {
                let answer = ask("/api/chat", &messages("gpt-oss:20b")).await?;
                anyhow::Ok(answer.stdout.contains("from the cluster").then_some(()))
            })
            .await?;
            for (path, body, reason) in [
                ("/api/chat", messages("gpt-oss:20b-cloud"), "body-rule"),
                ("/api/chat", messages("deepseek-v3.1:671b-cloud"), "body-rule"),
                ("/api/pull", json!({"model": canary}).to_string(), "request-not-allowed"),
                ("/api/push", json!({"model": canary}).to_string(), "request-not-allowed"),
                ("/api/create", json!({"model": canary}).to_string(), "request-not-allowed"),
            ] {
                let refused = ask(path, &body).await?;
                ensure!(refused.stdout.contains(&format!("x-ws-denied: {reason}")), "{path}: {refused}");
            }
            let logs = out.lab.kubectl(&["-n", NAMESPACE, "logs", NAME]).await?.ok()?.stdout;
            ensure!(logs.contains(&canary), "the control arrives: {logs}");
            let others =
                logs.lines().filter(|line| !line.starts_with("/api/chat ") || line.contains("-cloud"));
            ensure!(others.count() == 0, "{logs}");
            reaches_nobody(out).await?;
            sends_no_datagram(out).await?;
            asks_for_no_name(out).await?;
            // Not even a connection without a byte, of all that was tried.
            ensure!(
                !arrivals_from(out.lab, out.namespace, OPEN, began).await?.is_empty(),
                "the control arrives"
            );
            nothing_arrived_from(out.lab, NAMESPACE, NAME, began).await?;
            let server = out.lab.fields(NAMESPACE, "pod/ollama", "{.status.podIP}").await?;
            let direct = [Target::tcp(&server, PORT, "GET / HTTP/1.0\r\n\r\n")];
            ensure!(
                from_workspace(&out.ws, "out", &direct).await?.is_empty(),
                "a workspace reached it past the gateway"
            );
            ensure!(from_pod(out.lab, out.namespace, OPEN, &direct).await?.is_empty(), "a pod reached it");
            Ok(())
        })
        .await
    })
    .await
}

/// Nothing is reached from the server that a pod without a policy reaches, nor the gateway's proxy, which workspaces reach (A02–A05).
async fn reaches_nobody(out: &Out<'_>) -> Result<()> {
    let (lab, namespace) = (out.lab, out.namespace);
    let gateway = lab.fields(lab.ws_namespace(), "service/ws-gateway", "{.spec.clusterIP}").await?;
    let api_server = lab.fields("default", "service/kubernetes", "{.spec.clusterIP}").await?;
    let http = "GET / HTTP/1.0\r\n\r\n";
    let mut targets = vec![
        Target::tcp(INTERNET, 80, http),
        Target::tcp(INTERNET, 443, ""),
        Target::tcp(COMPANY, 80, http),
        Target::tcp(&gateway, 3_129, ""),
        Target::tcp(&api_server, 443, ""),
        Target::tcp(&lab.addresses.dns, 53, ""),
        Target { kind: Kind::Udp, ..Target::tcp(&lab.addresses.dns, 53, DNS_QUESTION) },
    ];
    open_pod(lab, namespace, OPEN).await?;
    let reached = from_pod(lab, namespace, OPEN, &targets).await?;
    ensure!(reached.len() == targets.len(), "the control reaches only {reached:?}");
    let proxy = Target::tcp(&gateway, 3_128, http);
    let reached = from_workspace(&out.ws, "out", std::slice::from_ref(&proxy)).await?;
    ensure!(reached.len() == 1, "the control: a workspace reaches the proxy");
    targets.push(proxy);
    let reached = from_pod(lab, NAMESPACE, NAME, &targets).await?;
    ensure!(reached.is_empty(), "the server reached {reached:?}");
    Ok(())
}

/// Nothing answers datagrams outside, so what counts is what arrived (A03).
async fn sends_no_datagram(out: &Out<'_>) -> Result<()> {
    const PORTS: [u16; 3] = [53, 123, 443];
    let (from_server, from_outside) = (canary()?, canary()?);
    let datagrams = |word: &str| PORTS.map(|port| Target::udp(INTERNET, port, word));
    from_pod(out.lab, NAMESPACE, NAME, &datagrams(&from_server)).await?;
    from_pod(out.lab, out.namespace, OPEN, &datagrams(&from_outside)).await?;
    eventually(PATIENCE, "the control's datagrams in the sinks", async || {
        anyhow::Ok(out.lab.sunk()?.contains(&from_outside).then_some(()))
    })
    .await?;
    ensure!(!out.lab.has_sunk(&from_server)?, "a datagram of the server arrived");
    Ok(())
}

/// By no resolver library (A04).
async fn asks_for_no_name(out: &Out<'_>) -> Result<()> {
    let (from_server, from_outside) = (canary()?, canary()?);
    let ask = async |namespace: &str, pod: &str, word: &str| {
        // The whole name, and once: nobody answers the server.
        let line = format!(
            "export RES_OPTIONS='timeout:1 attempts:1'; getent ahosts getent.{word}.{ZONE}.; \
             python3 -c 'import socket; socket.getaddrinfo(\"python.{word}.{ZONE}.\", 443)' 2>/dev/null; true"
        );
        out.lab.kubectl(&["-n", namespace, "exec", pod, "--", "bash", "-c", &line]).await?.ok()
    };
    ask(NAMESPACE, NAME, &from_server).await?;
    ask(out.namespace, OPEN, &from_outside).await?;
    eventually(PATIENCE, "the control's questions at the zone's server", async || {
        let resolved = out.lab.resolved()?;
        let is_asked = |way: &&str| resolved.contains(&format!("{way}.{from_outside}.{ZONE}."));
        anyhow::Ok(["getent", "python"].iter().all(is_asked).then_some(()))
    })
    .await?;
    ensure!(!out.lab.has_resolved(&from_server)?, "a question of the server arrived");
    Ok(())
}
