//! Red team, B28: a policy that changes while a client asks without end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;
use ws_tests::{
    audit::Audit,
    class::{self, reading},
    command::run,
    lab::Lab,
    namespace::with_namespace,
    probe::canary,
    project::Project,
    tunnel::with_connect,
    ws::Ws,
};

/// Changes of the policy, half of them denials.
const FLIPS: usize = 30;
/// When a denial holds.
const PROMISE: Duration = Duration::from_secs(2);
/// How long what begins after that is looked at.
const LOOK: Duration = Duration::from_millis(700);
/// How long it is allowed in between.
const ALLOWED: Duration = Duration::from_millis(1_200);
const LIMIT: Duration = Duration::from_mins(5);

/// Asks a host without end, with a connection for each question and with one for all, until there is a file `~/stop`. Prints when each
/// question began, in seconds since 1970, and the status of its answer; 0 is none.
const CLIENT: &str = r#"
import json, sys, threading, time
host, page = sys.argv[1:]
stop, end, asked = os.path.expanduser("~/stop"), time.time() + 280, []

def ask(keeps):
    stream = None
    while time.time() < end and not os.path.exists(stop):
        began, status = time.time(), 0
        try:
            stream = stream or connect(host, 5)
            stream.sendall(f"GET /{page} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            # The host's page ends like this, and a refusal with its connection.
            answer = stream.recv(65536)
            status = int(answer.split(b" ")[1])
            while not answer.rstrip().endswith(b"</html>"):
                piece = stream.recv(65536)
                if not piece:
                    break
                answer += piece
        except PermissionError:
            status = 403
        except (OSError, IndexError, ValueError):
            pass
        asked.append((began, status))
        if stream and not (keeps and status == 404):
            stream.close()
            stream = None
        time.sleep(0.02)

threads = [threading.Thread(target=ask, args=(keeps,)) for keeps in (False, False, True)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(asked))
"#;

/// A time in which it was to be denied: from when that was promised, until the next change was begun.
struct Denial {
    from: f64,
    to: f64,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Changes the class's rules again and again, and at last leaves them denying.
async fn flip(lab: &Lab, class: &str, rules: &Value) -> Result<Vec<Denial>> {
    let set = async |rules: &Value| {
        let patch = json!({"spec": {"egress": {"rules": rules}}}).to_string();
        lab.kubectl(&["patch", "workspaceclass", class, "--type=merge", "-p", &patch]).await?.ok()
    };
    let mut denials = Vec::new();
    for _ in 0..FLIPS / 2 {
        set(&json!([])).await?;
        let from = now() + PROMISE.as_secs_f64();
        sleep(PROMISE + LOOK).await;
        denials.push(Denial { from, to: now() });
        set(rules).await?;
        sleep(ALLOWED).await;
    }
    Ok(denials)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b28_nothing_is_allowed_two_seconds_after_it_was_denied() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let rules = json!([reading("docs", &["docs.example"])]);
        let class = class::create(lab, json!({"egress": {"rules": rules}})).await?;
        let (ws, audit, project) =
            (Ws::new(lab, namespace)?, Audit::of(lab, namespace, "out"), Project::empty()?);
        ws.run_in(project.path(), &["up", "--name", "out", "--class", &class, "--detach"]).await?.ok()?;
        let page = canary()?;
        let client = with_connect(CLIENT);
        let attach = ["attach", "out", "--", "python3", "-c", &client, "docs.example", &page];
        let client = run(ws.command(project.path(), &attach), LIMIT);
        let flips = async {
            let denials = flip(lab, &class, &rules).await;
            ws.bash("out", "touch ~/stop").await?.ok()?;
            denials
        };
        let (client, denials) = tokio::try_join!(client, flips)?;
        let asked: Vec<(f64, u16)> =
            serde_json::from_str(&client.clone().ok()?.stdout).with_context(|| client.to_string())?;
        let mut looked = 0;
        for Denial { from, to } in &denials {
            let within = asked.iter().filter(|(began, _)| (*from..*to).contains(began));
            let (allowed, others): (Vec<_>, Vec<_>) = within.partition(|(_, status)| *status == 404);
            ensure!(allowed.is_empty(), "denied from {from} to {to}, and yet {allowed:?}");
            looked += usize::from(others.iter().any(|(_, status)| *status == 403));
        }
        // The controls: it was denied when it was asked for, and allowed between the denials.
        ensure!(looked == denials.len(), "{looked} denials of {} were seen: {asked:?}", denials.len());
        let between = denials.windows(2).filter(|pair| {
            let [before, after] = pair else { return false };
            asked.iter().any(|(began, status)| *status == 404 && (before.to..after.from).contains(began))
        });
        let between = between.count();
        ensure!(between > denials.len() / 2, "{between} times it was allowed in between");
        ensure!(!lab.asked(&format!("/{page}"))?.is_empty(), "the control arrives");
        audit.holds_nothing_that_was_sent(&ws, &[]).await?;
        class::delete(lab, &class).await
    })
    .await
}
