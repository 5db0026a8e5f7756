//! Clusters that only pretend to enforce NetworkPolicy, or do so late. Installs ws from the manifests, the admin's other way.
//!
//! Boots the lab anew for each test, so it runs alone.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use ws_api::workspace::Workspace;
use ws_tests::{
    command::run,
    lab::Lab,
    namespace::with_namespace,
    pod::give_ipv6,
    probe::{INTERNET_V6, Target, canary, from_pod, open_pod},
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

/// How late the slow enforcer is.
const DELAY: Duration = Duration::from_secs(3);
/// The status says of a container that it runs a while after it does.
const KUBELETS_DELAY: Duration = Duration::from_secs(1);
/// How long the agents of these tests wait for an enforcement that never comes.
const DEADLINE: &str = "WS_ISOLATION_DEADLINE=20s";

async fn cluster_with_enforcer(enforcer: &str) -> Result<Lab> {
    let limit = Duration::from_mins(2);
    Lab::command(&["down"], limit).await?.ok()?;
    Lab::command(&["up", "--enforcer", enforcer], limit).await?.ok()?;
    let mut install = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh"));
    install.arg("manifests");
    run(install, 2 * limit).await?.ok()?;
    Lab::running().await
}

/// The layers of file systems on the node: of images, and of containers.
fn layers(lab: &Lab) -> Result<BTreeSet<PathBuf>> {
    fs::read_dir(lab.snapshots())?.map(|layer| Ok(layer?.path())).collect()
}

/// Whether the bytes are in a file of any container that was made since there were the layers `before`: images are large, and an agent
/// waits only so long.
async fn is_in_a_new_container(lab: &Lab, bytes: &str, before: &BTreeSet<PathBuf>) -> Result<bool> {
    eventually(Duration::from_mins(1), "a search that read everything", async || {
        let new: Vec<_> = layers(lab)?.difference(before).cloned().collect();
        ensure!(!new.is_empty(), "no container was made");
        let mut grep = Command::new("grep");
        grep.args(["-rqF", "-s", "--devices=skip", bytes]).args(new);
        anyhow::Ok(match run(grep, Duration::from_mins(1)).await?.code {
            Some(0) => Some(true),
            Some(1) => Some(false),
            // Something went away while it was read.
            _ => None,
        })
    })
    .await
}

/// Waits until the workspace has failed for `reason`.
async fn fails(lab: &Lab, namespace: &str, workspace: &str, reason: &str, limit: Duration) -> Result<()> {
    let expected = format!("Failed/{reason}");
    let workspace = format!("workspace/{workspace}");
    let fields = "{.status.phase}/{.status.conditions[?(@.type=='Ready')].reason}";
    eventually(limit, &expected, async || {
        anyhow::Ok((lab.fields(namespace, &workspace, fields).await? == expected).then_some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_cluster_that_does_not_enforce_is_found_out_before_a_byte_is_on_it() -> Result<()> {
    let lab = cluster_with_enforcer("off").await?;
    let operator = ["-n", lab.ws_namespace(), "set", "env", "deployment/ws-operator", DEADLINE];
    lab.kubectl(&operator).await?.ok()?;
    lab.kubectl(&["-n", lab.ws_namespace(), "rollout", "status", "deployment/ws-operator"]).await?.ok()?;
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        let project = Project::sample()?.with("canary.txt", &canary)?;
        let up = ["up", "--name", "leaky", "--detach"];
        let before = layers(lab)?;
        let searched = async {
            let phase = async || lab.fields(namespace, "pod/leaky", "{.status.phase}").await;
            eventually(PATIENCE, "a running pod", async || {
                anyhow::Ok((phase().await? == "Running").then_some(()))
            })
            .await?;
            // While the agent waits for what never comes, and its pod is there.
            let found = is_in_a_new_container(lab, &canary, &before).await?;
            ensure!(phase().await? == "Running", "the pod was gone before the search was over");
            anyhow::Ok(found)
        };
        let (refused, found) = tokio::try_join!(ws.run_in(project.path(), &up), searched)?;
        ensure!(refused.clone().code(1)?.stderr.contains("EgressNotEnforced"), "{refused}");
        ensure!(!found, "the project was on the cluster");
        // The control of red team A07: where nothing enforces, IPv6 leads out.
        open_pod(lab, namespace, "open").await?;
        give_ipv6(lab, namespace, "open", 7).await?;
        let reached = from_pod(lab, namespace, "open", &[Target::tcp(INTERNET_V6, 80, &canary)]).await?;
        ensure!(!reached.is_empty(), "an open pod does not reach IPv6 either");
        from_pod(lab, namespace, "open", &[Target::udp(INTERNET_V6, 53, &canary)]).await?;
        let own: IpAddr = "fd00:90::7".parse()?;
        eventually(PATIENCE, "its connection and its datagram in a sink", async || {
            let arrived = lab.arrivals(UNIX_EPOCH, |sender| sender == own)?;
            let by = |protocol: &str| arrived.iter().any(|arrival| arrival.protocol == protocol);
            anyhow::Ok((by("tcp") && by("udp")).then_some(()))
        })
        .await?;
        Ok(())
    })
    .await?;
    // The same, seen by an admin who keeps the object.
    with_namespace(async |lab, namespace| {
        let workspace = serde_json::json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "leaky", "namespace": namespace},
            "spec": {"sshPublicKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFO/4UYtQoHTSC3QLPTcN3zBr2kVB0OvIghKbYXjyFCr"]},
        });
        lab.kubectl_with(&["create", "-f", "-"], &workspace.to_string()).await?.ok()?;
        fails(lab, namespace, "leaky", "EgressNotEnforced", Duration::from_mins(1)).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_slow_enforcer_is_waited_for() -> Result<()> {
    cluster_with_enforcer(&format!("slow:{}", DELAY.as_millis())).await?;
    with_namespace(async |lab, namespace| {
        let (ws, canary) = (Ws::new(lab, namespace)?, canary()?);
        let project = Project::sample()?.with("canary.txt", &canary)?;
        let before = layers(lab)?;
        ws.up("late", project.path()).await?;
        // Against the pod's own start, so that a slow machine is not taken for a patient agent.
        let get = ["-n", namespace, "get", "workspace", "late", "-o", "json"];
        let late: Workspace = serde_json::from_str(&lab.kubectl(&get).await?.ok()?.stdout)?;
        let timings = late.status.and_then(|status| status.timings).context("no timings")?;
        let (started, isolated) =
            (timings.started.context("not started")?, timings.isolated.context("not isolated")?);
        let waited = Duration::try_from(isolated.0.duration_since(started.0))?;
        ensure!(
            waited + KUBELETS_DELAY > DELAY,
            "isolated {waited:?} after its start, before the policy was in force"
        );
        // The control of the other test's search.
        ensure!(is_in_a_new_container(lab, &canary, &before).await?, "the search finds nothing");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_session_ends_when_the_cluster_stops_to_enforce() -> Result<()> {
    // The agent looks every 30 s and gives what it asks a second to answer.
    const NOTICED: Duration = Duration::from_secs(35);
    cluster_with_enforcer("on").await?;
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("breached", Project::empty()?.path()).await?;
        // Before, the session outlives a look.
        ws.bash("breached", &format!("sleep {}", NOTICED.as_secs())).await?.ok()?;
        for family in ["inet", "bridge"] {
            let table = ["exec", "ws-node", "--", "nft", "delete", "table", family, "ws_netpol"];
            Lab::command(&table, Duration::from_secs(5)).await?.ok()?;
        }
        fails(lab, namespace, "breached", "EgressBreach", NOTICED + Duration::from_secs(5)).await?;
        let refused = ws.bash("breached", "true").await?.code(1)?;
        ensure!(refused.stderr.contains("EgressBreach"), "{refused}");
        Ok(())
    })
    .await
}
