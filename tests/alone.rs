//! What needs the cluster to itself, after the cluster tests in the same lab: what changes it for all, or takes its processors.
//!
//! The operator dies after each of its writes, and everything converges, nothing is orphaned: the installed one is scaled to
//! nothing meanwhile, and one beside the cluster takes its place, behind a proxy that kills it.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use ws_tests::{
    api_proxy::ApiProxy,
    class,
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
    with_namespace(async |lab, namespace| {
        let rules = serde_json::json!([{"name": "docs", "hosts": ["docs.example"], "allow": [{"methods": ["GET"], "paths": ["/**"]}]}]);
        let class = class::create(lab, serde_json::json!({"egress": {"rules": rules}})).await?;
        let ws = Ws::new(lab, namespace)?;
        ws.run_in(Project::empty()?.path(), &["up", "--name", "out", "--class", &class, "--detach"]).await?.ok()?;
        let fetch = async |path: &str| {
            let line = format!("curl -sS --max-time 3 https://docs.example/{path} && echo fetched");
            anyhow::Ok(ws.bash("out", &line).await?.stdout.contains("fetched"))
        };
        let stops_and_recovers = async |how: &str, stop: &str, recover: Option<&str>| {
            ensure!(fetch("before").await?, "{how}: the control");
            let canary = canary()?;
            let gateways = signal_gateways(stop, None).await?;
            ensure!(!fetch(&canary).await?, "{how}: it got out");
            ensure!(lab.asked(&format!("/{canary}"))?.is_empty(), "{how}: it arrived");
            if let Some(recover) = recover {
                signal_gateways(recover, Some(&gateways)).await?;
            }
            eventually(PATIENCE, "a gateway that works again", async || {
                anyhow::Ok(fetch("after").await?.then_some(()))
            })
            .await
        };
        stops_and_recovers("stopped", "-STOP", Some("-CONT")).await?;
        stops_and_recovers("killed", "-KILL", None).await?;
        class::delete(lab, &class).await
    })
    .await
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
