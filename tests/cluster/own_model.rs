//! Real coding agents with a model server in the cluster, started with the commands of `docs/egress.md`: they do their work with the
//! preset as it ships, and what they send as a key stays behind.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::Command;
use ws_tests::{
    command::run,
    lab::{Lab, ModelRequest},
    probe::canary,
    project::{MENDED, Project},
    ws::Ws,
};

use crate::{
    agents::{IMAGE, patch},
    model_server::{NAME, NAMESPACE, PORT, with_server},
    way_out::with_class,
};

const MANUAL: &str = include_str!("../../docs/egress.md");
/// The model, as a server of one's own.
const SERVER: &str = include_str!("../lab/hosts/models.py");
/// What it was asked, in its pod.
const LOG: &str = "/tmp/models.jsonl";
/// Headers that could carry a key.
const KEY_HEADERS: [&str; 4] = ["authorization", "x-api-key", "cookie", "proxy-authorization"];

/// The words of the manual's command that starts this agent, after `ws up`.
async fn documented(agent: &str) -> Result<Vec<String>> {
    let start = format!("    ws up --agent {agent} -- ");
    let (_, rest) = MANUAL.split_once(&start).with_context(|| format!("the manual starts no {agent}"))?;
    // Another command follows, or a text.
    let end = ["\n    ws ", "\n\n"].iter().filter_map(|end| rest.find(end)).min();
    let arguments = end.and_then(|end| rest.get(..end)).context("a block ends")?;
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("printf '%s\\0' --agent {agent} -- {arguments}")]);
    let words = run(bash, Duration::from_secs(10)).await?.ok()?.stdout;
    Ok(words.split_terminator('\0').map(str::to_owned).collect())
}

#[tokio::test]
async fn the_manual_tells_each_agent_where_the_server_is() {
    for agent in ["claude", "codex"] {
        let words = documented(agent).await.unwrap();
        assert_eq!(words[..3], ["--agent", agent, "--"]);
        let url = format!("http://{NAME}.{NAMESPACE}.svc:{PORT}");
        assert_eq!(words.iter().filter(|word| word.contains(&url)).count(), 1, "{words:?}");
        for word in words.iter().filter(|word| word.starts_with('{')) {
            assert!(serde_json::from_str::<serde_json::Value>(word).unwrap().is_object(), "{word}");
        }
    }
}

/// Has an agent mend a project; `arguments` make it work without a terminal, and the prompt follows.
async fn does_its_work(agent: &str, arguments: &[&str]) -> Result<()> {
    let rule = json!({
        "name": "local-model", "preset": "ollama", "models": ["gpt-oss:20b"],
        "service": {"namespace": NAMESPACE, "name": NAME, "port": PORT},
    });
    with_class(json!({"image": IMAGE, "egress": {"rules": [rule]}}), async |lab, namespace, class| {
        let port = PORT.to_string();
        let server =
            ["python3", "-c", SERVER, "--own", "--address", "0.0.0.0", "--port", &port, "--log", LOG];
        with_server(lab, &server, async || {
            let (ws, project, marker) = (Ws::new(lab, namespace)?, Project::failing()?, canary()?);
            let documented = documented(agent).await?;
            let prompt = format!("task:edit make the tests pass ({marker})");
            let mut up = vec!["up", "--name", "agent", "--class", class];
            up.extend(documented.iter().map(String::as_str));
            up.extend(arguments);
            up.push(&prompt);
            is_reached(&ws, class).await?;
            let session = ws.run_in(project.path(), &up).await?.ok()?;
            ensure!(session.stdout.contains("Done: a title that ends in a dash"), "{session}");
            // Nobody pulled, so it was kept as a patch when the session ended.
            let patch = patch(&session)?;
            ensure!(patch.contains(MENDED) && patch.matches("diff --git").count() == 1, "{patch}");
            let requests = asked(lab, &marker).await?;
            let last = requests.last().context("a request")?;
            ensure!(last.body.contains("# pass 4") && last.body.contains("# fail 0"), "{session} {last:?}");
            for request in &requests {
                let is_key = |name: &String| KEY_HEADERS.contains(&name.as_str());
                ensure!(request.status == 200 && !request.headers.keys().any(is_key), "{request:?}");
            }
            Ok(())
        })
        .await
    })
    .await
}

/// Waits until a workspace of the class is answered by the server.
async fn is_reached(ws: &Ws, class: &str) -> Result<()> {
    let ask = format!("curl -sf --max-time 5 http://{NAME}.{NAMESPACE}.svc:{PORT}/v1/models");
    let until = format!("for _ in $(seq 200); do {ask} && exit; sleep 0.2; done; exit 1");
    let project = Project::empty()?;
    ws.run_in(project.path(), &["run", "--class", class, "--", "bash", "-c", &until]).await?.ok().map(drop)
}

/// What the server was asked in a conversation in which `marker` is said.
async fn asked(lab: &Lab, marker: &str) -> Result<Vec<ModelRequest>> {
    let log = lab.kubectl(&["-n", NAMESPACE, "exec", NAME, "--", "cat", LOG]).await?.ok()?.stdout;
    let requests = log.lines().map(serde_json::from_str).collect::<Result<Vec<ModelRequest>, _>>()?;
    Ok(requests.into_iter().filter(|request| request.body.contains(marker)).collect())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn claude_code_does_its_work_with_a_model_server_in_the_cluster() -> Result<()> {
    does_its_work("claude", &["-p"]).await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn codex_does_its_work_with_a_model_server_in_the_cluster() -> Result<()> {
    does_its_work("codex", &["exec"]).await
}
