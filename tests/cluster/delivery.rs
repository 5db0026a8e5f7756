//! How the agent comes into images that lack it, and how a user comes to the agent.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    class,
    lab::Lab,
    namespace::with_namespace,
    probe::{open_pod, open_pod_of},
    project::Project,
    user::User,
    ws::Ws,
};

/// Debian's minimal system: what the workspaces' image is built on.
const FOREIGN: &str = "localhost/ws-base:1";
/// Where the agent is in a workspace.
const AGENT: &str = "/ws/ws-agent";
const BUILD_LIMIT: Duration = Duration::from_mins(5);

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_image_without_the_agent_gets_it_as_an_image_volume() -> Result<()> {
    with_namespace(async |lab, namespace| {
        load_foreign_image().await?;
        session(lab, namespace, json!({})).await?;
        let volume = "{.spec.volumes[*].image.reference} {.spec.initContainers}";
        let pod = lab.fields(namespace, "pod/foreign", volume).await?;
        ensure!(pod.trim().ends_with("/agent:0.1.0"), "{pod}");
        // The control: the image itself has none.
        open_pod(lab, namespace, "stock").await?;
        open_pod_of(lab, namespace, "bare", FOREIGN).await?;
        let exec = async |pod| lab.kubectl(&["-n", namespace, "exec", pod, "--", "test", "-x", AGENT]).await;
        ensure!(exec("stock").await?.is_ok(), "the control finds the agent where it is");
        ensure!(!exec("bare").await?.is_ok(), "nothing is proven: the image holds the agent");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn where_a_node_cannot_mount_images_an_init_container_brings_the_agent() -> Result<()> {
    with_namespace(async |lab, namespace| {
        load_foreign_image().await?;
        let node = OldNode::join(lab, namespace).await?;
        let outcome =
            session(lab, namespace, json!({"scheduling": {"tolerations": [node.toleration()]}})).await;
        node.leave().await?;
        outcome?;
        let installer = "{.spec.initContainers[*].name} {.spec.volumes[*].image}";
        let pod = lab.fields(namespace, "pod/foreign", installer).await?;
        ensure!(pod.trim() == "install-agent", "{pod}");
        Ok(())
    })
    .await
}

/// A session in the foreign image: it runs, its project arrives, a change comes back, and the agent cannot be replaced.
async fn session(lab: &Lab, namespace: &str, changes: Value) -> Result<()> {
    let mut spec = json!({"image": FOREIGN});
    spec.as_object_mut().context("an object")?.extend(changes.as_object().cloned().unwrap_or_default());
    let class = class::create(lab, spec).await?;
    let outcome = work(lab, namespace, &class).await;
    class::delete(lab, &class).await?;
    outcome
}

async fn work(lab: &Lab, namespace: &str, class: &str) -> Result<()> {
    let ws = Ws::new(lab, namespace)?;
    let project = Project::sample()?.with("notes.md", "one\n")?;
    ws.run_in(project.path(), &["up", "--class", class, "--name", "foreign", "--detach"]).await?.ok()?;
    let line = format!("grep -c two notes.md; echo two >> notes.md; echo evil > {AGENT} || echo refused");
    let seen = ws.bash("foreign", &line).await?.ok()?;
    assert_eq!(seen.stdout, "0\nrefused\n", "{seen}");
    ws.run_in(project.path(), &["pull", "foreign"]).await?.ok()?;
    assert_eq!(project.read("notes.md")?, "one\ntwo\n");
    Ok(())
}

/// Puts the image into the lab.
async fn load_foreign_image() -> Result<()> {
    // Its archive lies beside those of ws's own images.
    let archives = Lab::command(&["images"], BUILD_LIMIT).await?.ok()?.stdout;
    let folder = archives.lines().next().and_then(|line| Path::new(line).parent()).context("no images")?;
    let archive = folder.join("base.tar");
    let archive = archive.to_str().context("the lab's cache has a name in UTF-8")?;
    Lab::command(&["load", archive], BUILD_LIMIT).await?.ok().map(drop)
}

/// A node that is only an entry in the cluster's list: its kubelet is too old for image volumes, and no pod gets there.
struct OldNode<'a> {
    lab: &'a Lab,
    name: String,
}

impl<'a> OldNode<'a> {
    async fn join(lab: &'a Lab, namespace: &str) -> Result<Self> {
        let old = Self { lab, name: format!("old-{namespace}") };
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": old.name},
            "spec": {"taints": [{"key": old.name, "effect": "NoSchedule"}]},
            "status": {"nodeInfo": {
                "kubeletVersion": "v1.33.0", "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
                "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "osImage": "",
                "systemUUID": "",
            }},
        });
        lab.kubectl_with(&["create", "-f", "-"], &node.to_string()).await?.ok()?;
        Ok(old)
    }

    /// With it, a class counts the node among those that could take its pods. The scheduler does not: it never was ready.
    fn toleration(&self) -> Value {
        json!({"key": self.name, "operator": "Exists"})
    }

    async fn leave(self) -> Result<()> {
        self.lab.kubectl(&["delete", "node", &self.name]).await?.ok().map(drop)
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn the_charts_role_is_all_that_a_user_needs() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let user = User::create(lab, namespace, "developer", ws.home()).await?;
        let ws = ws.with_kubeconfig(user.kubeconfig());
        let project = Project::sample()?;
        let run = ["run", "--", "ls"];
        let without = ws.run_in(project.path(), &run).await?.code(1)?;
        ensure!(without.stderr.contains("create"), "the role is what lets them: {without}");
        user.has("ws-user").await?;
        let with = ws.run_in(project.path(), &run).await?.ok()?;
        ensure!(with.stdout.contains("package.json"), "{with}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_user_who_may_not_forward_ports_comes_in_by_exec() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let user = User::create(lab, namespace, "executor", ws.home()).await?;
        let ws = ws.with_kubeconfig(user.kubeconfig());
        user.may("get,list,watch,create,delete", "workspaces.ws.dev").await?;
        let project = Project::sample()?;
        let refused = ws.run_in(project.path(), &["run", "--", "true"]).await?.code(1)?;
        ensure!(refused.stderr.contains("pods/portforward"), "the smaller right is asked for: {refused}");
        user.may("get,create", "pods/exec").await?;
        let sent = vec![b'x'; 4 << 20];
        ws.run_in(project.path(), &["up", "--name", "by-exec", "--detach"]).await?.ok()?;
        let output = ws
            .run_with_input(sent.clone(), &["attach", "by-exec", "--", "bash", "-c", "cat; exit 7"])
            .await?
            .code(7)?;
        ensure!(output.stdout.as_bytes() == sent, "{} bytes came back", output.stdout.len());
        Ok(())
    })
    .await
}
