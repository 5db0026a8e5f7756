//! What needs the cluster to itself, after the cluster tests in the same lab: what changes it for all, or takes its processors.
//!
//! The operator dies after each of its writes, and everything converges, nothing is orphaned: the installed one is scaled to
//! nothing meanwhile, and one beside the cluster takes its place, behind a proxy that kills it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use ws_tests::{
    api_proxy::ApiProxy,
    class,
    command::run,
    lab::Lab,
    namespace::{SOON, nothing_is_left, with_namespace},
    pod::{bare_pod, changed},
    probe::{INTERNET, canary},
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

/// More than the operator writes for one workspace: a sweep that has not ended by itself before never will.
const ENOUGH: usize = 20;

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_operator_that_dies_after_any_of_its_writes_leaves_no_orphan() -> Result<()> {
    let lab = Lab::running().await?;
    scale_operator(&lab, 0).await?;
    let outcome = sweep().await;
    scale_operator(&lab, 2).await?;
    let crashes = outcome?;
    ensure!(crashes >= 4, "the operator was killed {crashes} times only: nothing is proven");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn another_replica_takes_over_from_a_leader_that_is_gone() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let leader =
            ["-n", lab.ws_namespace(), "get", "leases", "-o", "jsonpath={.items[0].spec.holderIdentity}"];
        let first = eventually(Duration::from_mins(1), "a leader", async || {
            let leader = lab.kubectl(&leader).await?.ok()?.stdout;
            anyhow::Ok(Some(leader).filter(|leader| !leader.is_empty()))
        })
        .await?;
        let kill = ["-n", lab.ws_namespace(), "delete", "pod", first.as_str(), "--grace-period=0", "--force"];
        lab.kubectl(&kill).await?.ok()?;
        let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
        let run = ws.run_in(project.path(), &["run", "--", "echo", "led"]).await?.ok()?;
        assert_eq!(run.stdout, "led\n");
        let second = lab.kubectl(&leader).await?.ok()?.stdout;
        ensure!(!second.is_empty() && second != first, "{second} leads after {first}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn without_a_default_class_a_user_hears_what_to_do() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let annotate = async |annotation: &str| {
            lab.kubectl(&["annotate", "workspaceclass", "default", annotation]).await?.ok().map(drop)
        };
        let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
        annotate("ws.dev/is-default-class-").await?;
        let refused = ws.run_in(project.path(), &["up", "--detach"]).await;
        annotate("ws.dev/is-default-class=true").await?;
        refused?.is_a_clear_refusal(&["no class is the default", "hint: name a class with --class"])?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a12_pods_that_send_from_their_first_instruction_send_nothing() -> Result<()> {
    const PODS: u32 = 20;
    with_namespace(async |lab, namespace| {
        let (ws, caught, control) = (Ws::new(lab, namespace)?, canary()?, canary()?);
        // The session that makes the class's policy be there.
        ws.up("policy", Project::empty()?.path()).await?;
        let flood = async |name: &str, class: Option<&str>, word: &str| {
            let line = format!(
                "end=$((SECONDS+3)); while [ $SECONDS -lt $end ]; do echo {word} > /dev/udp/{INTERNET}/53; \
                 (echo {word} > /dev/tcp/{INTERNET}/80) & done 2>/dev/null; wait"
            );
            flooding_pod(lab, namespace, name, class, &line).await
        };
        for number in 0..PODS {
            flood(&format!("flood-{number}"), Some("default"), &caught).await?;
        }
        flood("control", None, &control).await?;
        eventually(PATIENCE, "the control's flood in the sink", async || {
            anyhow::Ok(lab.sunk()?.contains(&control).then_some(()))
        })
        .await?;
        eventually(Duration::from_secs(90), "the end of all floods", async || {
            let phases = [
                "-n",
                namespace,
                "get",
                "pods",
                "-l",
                "flood=yes",
                "-o",
                "jsonpath={.items[*].status.phase}",
            ];
            let phases = lab.kubectl(&phases).await?.ok()?.stdout;
            anyhow::Ok(phases.split(' ').all(|phase| phase == "Succeeded" || phase == "Failed").then_some(()))
        })
        .await?;
        ensure!(!lab.sunk()?.contains(&caught), "a pod of the class got something through");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b26_without_a_gateway_that_works_nothing_gets_out() -> Result<()> {
    // One that is killed is back within five seconds; a machine that has else to do takes longer.
    const RECOVERY: Duration = Duration::from_secs(10);
    with_namespace(async |lab, namespace| {
        let rules = serde_json::json!([{"name": "docs", "hosts": ["docs.example"], "allow": [{"methods": ["GET"], "paths": ["/**"]}]}]);
        let class = class::create(lab, serde_json::json!({"egress": {"rules": rules}})).await?;
        new_gateways(lab).await?;
        let ws = Ws::new(lab, namespace)?;
        ws.run_in(Project::empty()?.path(), &["up", "--name", "out", "--class", &class, "--detach"]).await?.ok()?;
        let fetch = async |path: &str| {
            let line = format!("curl -sS --max-time 1 https://docs.example/{path} && echo fetched");
            anyhow::Ok(ws.bash("out", &line).await?.stdout.contains("fetched"))
        };
        let works = async |limit: Duration| {
            eventually(limit, "a gateway that works", async || {
                anyhow::Ok(fetch("works").await?.then_some(()))
            })
            .await
        };
        for (how, stop, recover) in [("stopped", "-STOP", Some("-CONT")), ("killed", "-KILL", None)] {
            works(PATIENCE).await?;
            let canary = canary()?;
            let stopped = Instant::now();
            let gateways = signal_gateways(stop, None).await?;
            ensure!(!fetch(&canary).await?, "{how}: it got out");
            ensure!(lab.asked(&format!("/{canary}"))?.is_empty(), "{how}: it arrived");
            let began = match recover {
                Some(recover) => {
                    signal_gateways(recover, Some(&gateways)).await?;
                    Instant::now()
                }
                None => stopped,
            };
            works(PATIENCE).await?;
            ensure!(began.elapsed() < RECOVERY, "{how}: it took {:?} to recover", began.elapsed());
        }
        class::delete(lab, &class).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_b26_what_a_gateway_that_is_killed_let_pass_stays_spent() -> Result<()> {
    const BUDGET: u64 = 64 << 10;
    const BODY: u64 = 2 << 10;
    with_namespace(async |lab, namespace| {
        let rules = serde_json::json!([{
            "name": "api", "hosts": ["api.example"], "budget": {"upload": BUDGET.to_string()},
            "allow": [{"methods": ["POST"], "paths": ["/upload/**"], "body": {"max": "64Ki"}}],
        }]);
        let class = class::create(lab, serde_json::json!({"egress": {"rules": rules}})).await?;
        new_gateways(lab).await?;
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
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
        class::delete(lab, &class).await
    })
    .await
}

/// Replaces the gateways, for the kubelet starts at once what has not been killed before.
async fn new_gateways(lab: &Lab) -> Result<()> {
    for command in [&["restart"][..], &["status", "--timeout=100s"]] {
        let rollout = [&["-n", lab.ws_namespace(), "rollout"], command, &["deployment/ws-gateway"]].concat();
        run(lab.kubectl_command(&rollout), Duration::from_mins(2)).await?.ok()?;
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

#[tokio::test]
#[ignore = "needs the lab"]
async fn b25_a_workspace_that_floods_the_gateway_leaves_the_others_theirs() -> Result<()> {
    const FLOOD: &str = r#"timeout 25 python3 - <<'END'
import os, socket, threading, time
address, port = os.environ["HTTPS_PROXY"].split("//")[1].split(":")
end, denied, held = time.time() + 20, 0, []
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
    while time.time() < end and len(held) < 2000:
        try:
            stream = socket.create_connection((os.environ["GATEWAY"], 3128), 2)
            stream.sendall(b"GET http://flood.example/ HTTP/1.1\r\nX: ")
            held.append(stream)
        except OSError: pass
threads = [threading.Thread(target=work) for work in [deny] * 8 + [hold] * 4]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("denied", denied)
END"#;
    const CALM: &str = "for _ in $(seq 30); do curl -s -o /dev/null --max-time 5 -w '%{http_code} %{time_total}\\n' https://docs.example/; sleep 0.2; done";
    with_namespace(async |lab, namespace| {
        let rules = serde_json::json!([{"name": "docs", "hosts": ["docs.example"], "allow": [{"methods": ["GET"], "paths": ["/**"]}]}]);
        let class = class::create(lab, serde_json::json!({"egress": {"rules": rules}})).await?;
        let ws = Ws::new(lab, namespace)?;
        for name in ["loud", "calm"] {
            ws.run_in(Project::empty()?.path(), &["up", "--name", name, "--class", &class, "--detach"]).await?.ok()?;
        }
        // Through its agent, and past it.
        let gateway = lab.fields(lab.ws_namespace(), "service/ws-gateway", "{.spec.clusterIP}").await?;
        let flood = format!("GATEWAY={gateway} {FLOOD}");
        let (loud, calm) = tokio::join!(ws.bash("loud", &flood), ws.bash("calm", CALM));
        let (loud, calm) = (loud?.ok()?, calm?.ok()?);
        let denied: u64 = loud.stdout.trim().rsplit(' ').next().unwrap_or_default().parse()?;
        ensure!(denied > 500, "it floods: {loud}");
        let answers: Vec<(&str, f64)> = calm
            .stdout
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(status, time)| Some((status, time.parse().ok()?)))
            .collect();
        ensure!(answers.len() == 30 && answers.iter().all(|(status, _)| *status == "200"), "{calm}");
        let slow = answers.iter().filter(|(_, time)| *time > 2.0).count();
        ensure!(slow <= 1, "{slow} of 30 took more than two seconds: {calm}");
        let egress = ws.run(&["egress", "loud", "--json"]).await?.ok()?;
        ensure!(egress.stdout.lines().count() <= 256, "what is kept is bounded");
        class::delete(lab, &class).await
    })
    .await
}

/// A pod that is not the operator's but has the labels of a class, so that the class's policy selects it.
async fn flooding_pod(lab: &Lab, namespace: &str, name: &str, class: Option<&str>, line: &str) -> Result<()> {
    let image = lab.workspace_image().await?;
    let mut labels = BTreeMap::from([("flood", "yes")]);
    if let Some(class) = class {
        labels.extend([(ws_api::MANAGED_BY_LABEL, ws_api::MANAGED_BY), (ws_api::CLASS_LABEL, class)]);
    }
    let pod = bare_pod(name, &image, &["timeout", "10", "bash", "-c", line]);
    let changes = [
        ("/metadata/labels", serde_json::to_value(labels)?),
        ("/spec/restartPolicy", "Never".into()),
        ("/spec/containers/0/resources", serde_json::json!({"limits": {"cpu": "50m"}})),
    ];
    let pod = changed(pod, &changes)?;
    lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &pod.to_string()).await?.ok().map(drop)
}

/// Number of writes after which the operator was killed.
async fn sweep() -> Result<usize> {
    for fatal in 1..ENOUGH {
        let mut was_killed = false;
        with_namespace(async |lab, namespace| {
            was_killed = session_survives_a_crash(lab, namespace, fatal).await?;
            Ok(())
        })
        .await?;
        if !was_killed {
            return Ok(fatal - 1);
        }
    }
    bail!("an operator that is killed after write {ENOUGH} still has more to write")
}

/// Runs a session while the operator dies after write `fatal` and is started again. False if there were fewer writes.
async fn session_survives_a_crash(lab: &Lab, namespace: &str, fatal: usize) -> Result<bool> {
    let folder = TempDir::new()?;
    let proxy = ApiProxy::start(lab, fatal).await?;
    let mut doomed = operator(lab, &proxy.kubeconfig(folder.path())?)?;
    let (ws, project) = (Ws::new(lab, namespace)?, Project::sample()?);
    let session =
        async { ws.run_in(project.path(), &["run", "--name", "crash", "--", "echo", "survived"]).await };
    tokio::pin!(session);
    let finished = tokio::select! {
        output = &mut session => Some(output?),
        killed = proxy.fatal_write() => { killed?; None }
    };
    doomed.kill().await?;
    let heir_proxy = ApiProxy::start(lab, 0).await?;
    let mut heir = operator(lab, &heir_proxy.kubeconfig(folder.path())?)?;
    let was_killed = finished.is_none();
    let output = match finished {
        Some(output) => output,
        None => session.await?,
    };
    ensure!(output.clone().ok()?.stdout == "survived\n", "after write {fatal}: {output}");
    nothing_is_left(lab, namespace, SOON).await?;
    heir.kill().await?;
    Ok(was_killed)
}

/// The operator as a process of this machine.
fn operator(lab: &Lab, kubeconfig: &Path) -> Result<Child> {
    let mut command = Command::new(lab.program("ws-operator")?);
    command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.args([
        "run",
        "--namespace",
        lab.ws_namespace(),
        "--no-leader-election",
        "--admin",
        "127.0.0.1:0",
    ]);
    command
        .args(["--api-server", "10.96.0.1:443", "--stock-image", "ghcr.io/ws-dev/workspace"])
        .kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn scale_operator(lab: &Lab, replicas: u8) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    lab.kubectl(&["-n", lab.ws_namespace(), "scale", "deployment", "ws-operator", &replicas]).await?.ok()?;
    let select =
        ["-n", lab.ws_namespace(), "get", "pods", "-l", "app.kubernetes.io/name=ws-operator", "-o", "name"];
    eventually(PATIENCE, "the scaled operator", async || {
        let pods = lab.kubectl(&select).await?.ok()?.stdout;
        anyhow::Ok((pods.is_empty() == (replicas == "--replicas=0")).then_some(()))
    })
    .await
}
