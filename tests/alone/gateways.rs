//! Red team, B20 and B26: gateways that are stopped and killed, by somebody or for the memory that they take.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::process::Command;
use ws_tests::{
    audit::Audit,
    class::{self, reading},
    command::run,
    lab::{GATEWAYS, Lab},
    namespace::with_namespace,
    probe::canary,
    project::Project,
    tunnel::with_connect,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

/// What the clock's jumps would do is not shown here: a pod has the machine's clock, and its other programs go by it.
#[tokio::test]
#[ignore = "needs the lab"]
async fn b26_without_a_gateway_that_works_nothing_gets_out() -> Result<()> {
    // From when it could answer. How soon the kubelet starts a container anew is the kubelet's.
    const RECOVERY: Duration = Duration::from_secs(5);
    const WITH_ITS_START: Duration = Duration::from_secs(10);
    with_namespace(async |lab, namespace| {
        let rules = json!([reading("docs", &["docs.example"])]);
        let class = class::create(lab, json!({"egress": {"rules": rules}})).await?;
        new_gateways(lab).await?;
        let (ws, audit) = (Ws::new(lab, namespace)?, Audit::of(lab, namespace, "out"));
        ws.run_in(Project::empty()?.path(), &["up", "--name", "out", "--class", &class, "--detach"])
            .await?
            .ok()?;
        let fetch = async |path: &str| {
            let line = format!("curl -sS --max-time 1 https://docs.example/{path} && echo fetched");
            anyhow::Ok(ws.bash("out", &line).await?.stdout.contains("fetched"))
        };
        let works = async || {
            eventually(PATIENCE, "a gateway that works", async || {
                anyhow::Ok(fetch("works").await?.then_some(Instant::now()))
            })
            .await
        };
        for (how, stop, recover) in [("stopped", "-STOP", Some("-CONT")), ("killed", "-KILL", None)] {
            works().await?;
            let (canary, before, stopped) = (canary()?, restarts(lab).await?, Instant::now());
            let gateways = signal_gateways(stop, None).await?;
            ensure!(!fetch(&canary).await?, "{how}: it got out");
            ensure!(lab.asked(&format!("/{canary}"))?.is_empty(), "{how}: it arrived");
            let (began, could, worked) = if let Some(recover) = recover {
                signal_gateways(recover, Some(&gateways)).await?;
                (Instant::now(), Instant::now(), works().await?)
            } else {
                let (could, worked) = tokio::try_join!(ready_again(lab, before), works())?;
                (stopped, could, worked)
            };
            let recovered = worked.saturating_duration_since(could);
            ensure!(recovered < RECOVERY, "{how}: it took {recovered:?} to recover");
            let all = worked.saturating_duration_since(began);
            ensure!(all < WITH_ITS_START, "{how}: it took {all:?} in all");
            audit.holds_none_of(&[]).await?;
            // The control: what asks for it now gets out.
            fetch(&canary).await?;
            ensure!(lab.asked(&format!("/{canary}"))?.len() == 1, "{how}: the control arrives");
        }
        class::delete(lab, &class).await
    })
    .await
}

/// How often the gateways that stay were started anew, and how many of them are ready.
async fn restarts(lab: &Lab) -> Result<(u32, usize)> {
    let state = "{.status.containerStatuses[0].restartCount}/{.status.containerStatuses[0].ready}/{.metadata.deletionTimestamp} ";
    let states = format!("jsonpath={{range .items[*]}}{state}{{end}}");
    let get = ["-n", lab.ws_namespace(), "get", "pods", "-l", GATEWAYS, "-o", &states];
    let states = lab.kubectl(&get).await?.ok()?.stdout;
    let (mut restarts, mut ready) = (0, 0);
    for state in states.split_whitespace() {
        if let [count, is_ready, ""] = state.split('/').collect::<Vec<_>>()[..] {
            restarts += count.parse::<u32>()?;
            ready += usize::from(is_ready == "true");
        }
    }
    Ok((restarts, ready))
}

/// When all gateways were seen to be ready that were killed.
async fn ready_again(lab: &Lab, (before, of): (u32, usize)) -> Result<Instant> {
    eventually(PATIENCE, "gateways that are ready again", async || {
        let (restarted, ready) = restarts(lab).await?;
        let are_there = usize::try_from(restarted.saturating_sub(before))? >= of && ready >= of;
        anyhow::Ok(are_there.then(Instant::now))
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_b26_what_a_gateway_that_is_killed_let_pass_stays_spent() -> Result<()> {
    const BUDGET: u64 = 64 << 10;
    const BODY: u64 = 2 << 10;
    with_namespace(async |lab, namespace| {
        let rules = json!([{
            "name": "api", "hosts": ["api.example"], "budget": {"upload": BUDGET.to_string()},
            "allow": [{"methods": ["POST"], "paths": ["/upload/**"], "body": {"max": "64Ki"}}],
        }]);
        let class = class::create(lab, json!({"egress": {"rules": rules}})).await?;
        new_gateways(lab).await?;
        let (ws, canary, audit) = (Ws::new(lab, namespace)?, canary()?, Audit::of(lab, namespace, "out"));
        ws.run_in(Project::empty()?.path(), &["up", "--name", "out", "--class", &class, "--detach"]).await?.ok()?;
        // How many of so many uploads are taken.
        let upload = async |times: u64| {
            let line = format!(
                "for number in $(seq {times}); do head -c {BODY} /dev/zero | tr '\\0' x | curl -sS -o /dev/null \
                     -w '%{{http_code}}\\n' --max-time 10 https://api.example/upload/{canary} --data-binary @-; done; true"
            );
            let told = ws.bash("out", &line).await?.ok()?.stdout;
            anyhow::Ok(told.lines().filter(|line| *line == "200").count() as u64)
        };
        let half = BUDGET / BODY / 2;
        ensure!(upload(half).await? == half, "half of the budget is there to be spent");
        signal_gateways("-KILL", None).await?;
        eventually(PATIENCE, "an upload by the gateway's next life", async || {
            anyhow::Ok((upload(1).await? == 1).then_some(()))
        })
        .await?;
        let rest = upload(2 * half).await?;
        ensure!(rest < half, "{rest} more uploads were taken");
        let requests = lab.asked(&format!("/upload/{canary}"))?;
        let sent: u64 = requests.iter().filter_map(|request| request["length"].as_u64()).sum();
        ensure!(requests.len() as u64 > half && sent <= BUDGET, "{sent} bytes in {} requests", requests.len());
        // What the gateway's last life wrote down is all that is looked at: the first one's log went with it.
        audit.holds_none_of(&[]).await?;
        class::delete(lab, &class).await
    })
    .await
}

/// Sends bodies that are looked into, which a gateway has to keep until they are whole: all there is room for of one workspace, each but
/// for its last byte. Prints how that ended.
const HOLD: &str = r#"
import sys
host, path = sys.argv[1:]
SIZE, BEGIN, held = 8 << 20, b'{"model": "m", "more": "', []

try:
    for _ in range(4):
        held.append(connect(host, 20))
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n"
        held[-1].sendall(head.encode() + BEGIN + b"x" * (SIZE - len(BEGIN) - 1))
    print("answered" if held[0].recv(1) else "broke off")
except OSError:
    print("broke off")
"#;

#[tokio::test]
#[ignore = "needs the lab"]
async fn b26_a_gateway_that_runs_out_of_memory_lets_nothing_out() -> Result<()> {
    // Twice what it has when it idles. With the bodies of one workspace it is three times as much.
    const LITTLE: [&str; 4] = ["set", "resources", "--limits=memory=32Mi", "--requests=cpu=100m,memory=32Mi"];
    let lab = Lab::running().await?;
    let outcome = async {
        change_gateways(&lab, &LITTLE).await?;
        runs_out_of_memory().await
    };
    let outcome = outcome.await;
    change_gateways(&lab, &["rollout", "undo"]).await?;
    outcome
}

async fn runs_out_of_memory() -> Result<()> {
    const HOST: &str = "api.example";
    with_namespace(async |lab, namespace| {
        let rules = json!([{"name": "api", "hosts": [HOST], "allow": [
            {"methods": ["POST"], "paths": ["/upload/**"], "body": {"max": "8Mi", "json": {"required": ["model"]}}},
        ]}]);
        let class = class::create(lab, json!({"egress": {"rules": rules}})).await?;
        let (ws, audit) = (Ws::new(lab, namespace)?, Audit::of(lab, namespace, "out"));
        ws.run_in(Project::empty()?.path(), &["up", "--name", "out", "--class", &class, "--detach"])
            .await?
            .ok()?;
        let (inspected, denied) = (canary()?, canary()?);
        // The controls: what is whole gets out, before and after.
        let gets_out = async || {
            let page = canary()?;
            let send = format!(
                "curl -sS --max-time 5 https://{HOST}/upload/{page} -H 'Content-Type: application/json' -d '{{\"model\": \"m\"}}'"
            );
            eventually(PATIENCE, "a gateway that works", async || {
                anyhow::Ok((ws.bash("out", &send).await?.stdout == "taken\n").then_some(()))
            })
            .await?;
            ensure!(!lab.asked(&format!("/upload/{page}"))?.is_empty(), "the control arrives");
            anyhow::Ok(())
        };
        gets_out().await?;
        let path = format!("/upload/{inspected}");
        let hold = with_connect(HOLD);
        let hold = ["attach", "out", "--", "python3", "-c", &hold, HOST, &path];
        let ask = format!(
            "for _ in $(seq 20); do curl -s --max-time 1 https://hidden.example/{denied}; sleep 0.2; done; true"
        );
        let (sent, _) = tokio::try_join!(ws.run(&hold), ws.bash("out", &ask))?;
        ensure!(sent.clone().ok()?.stdout == "broke off\n", "it has room for all of them: {sent}");
        eventually(PATIENCE, "a gateway that was ended for its memory", async || {
            let ended = "jsonpath={.items[*].status.containerStatuses[0].lastState.terminated.reason}";
            let get = ["-n", lab.ws_namespace(), "get", "pods", "-l", GATEWAYS, "-o", ended];
            let ended = lab.kubectl(&get).await?.ok()?.stdout;
            ensure!(ended.contains("OOMKilled"), "{ended}");
            anyhow::Ok(Some(()))
        })
        .await?;
        gets_out().await?;
        for page in [path, format!("/{denied}")] {
            ensure!(lab.asked(&page)?.is_empty(), "it arrived: {:?}", lab.asked(&page)?);
        }
        ensure!(!lab.resolved()?.contains("hidden.example."), "a name was asked for");
        audit.holds_none_of(&[]).await?;
        class::delete(lab, &class).await
    })
    .await
}

/// Replaces the gateways, for the kubelet starts at once what has not been killed before.
async fn new_gateways(lab: &Lab) -> Result<()> {
    change_gateways(lab, &["rollout", "restart"]).await
}

/// Has kubectl change the gateways' Deployment, and waits until they are the new ones.
async fn change_gateways(lab: &Lab, change: &[&str]) -> Result<()> {
    for command in [change, &["rollout", "status", "--timeout=100s"]] {
        let command = [&["-n", lab.ws_namespace()], command, &["deployment/ws-gateway"]].concat();
        run(lab.kubectl_command(&command), Duration::from_mins(2)).await?.ok()?;
    }
    Ok(())
}

/// Sends a signal to these gateways of the lab, or to all there are; which those were.
async fn signal_gateways(signal: &str, gateways: Option<&[String]>) -> Result<Vec<String>> {
    let gateways = if let Some(gateways) = gateways {
        gateways.to_vec()
    } else {
        let found = Command::new("pgrep").args(["-x", "ws-gateway"]).output().await?;
        String::from_utf8(found.stdout)?.split_whitespace().map(str::to_owned).collect()
    };
    ensure!(!gateways.is_empty(), "no gateway runs");
    let sent = Command::new("kill").arg(signal).args(&gateways).status().await?;
    ensure!(sent.success(), "kill {signal}: {sent}");
    Ok(gateways)
}
