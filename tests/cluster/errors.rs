//! What people meet first: each mistake is one sentence, one hint and exit code 1.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use ws_tests::{
    class,
    command::Output,
    lab::Lab,
    namespace::{SOON, nothing_is_left, with_namespace},
    project::Project,
    user::User,
    wait::eventually,
    ws::Ws,
};

/// One error line that says `what`, one hint, exit code 1.
fn is_a_clear_refusal(output: Output, what: &[&str]) -> Result<()> {
    let output = output.code(1)?;
    let said = output.stderr.as_str();
    for word in what {
        assert!(said.contains(word), "`{word}` is not said: {output}");
    }
    assert!(said.to_lowercase().contains("hint:"), "no next step: {output}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{output}");
    Ok(())
}

/// `ws up` with these arguments is refused, says `what`, and leaves nothing.
async fn up_is_refused(arguments: &[&str], what: &[&str]) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        let refused = ws.run_in(project.path(), &[&["up", "--detach"], arguments].concat()).await?;
        is_a_clear_refusal(refused, what)?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_unknown_class_is_named() -> Result<()> {
    up_is_refused(&["--class", "missing"], &["missing"]).await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_image_that_the_class_does_not_allow_is_named() -> Result<()> {
    up_is_refused(&["--image", "docker.io/evil/image:1"], &["docker.io/evil/image:1", "default"]).await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_unknown_egress_rule_is_named() -> Result<()> {
    up_is_refused(&["--egress", "no-such-rule"], &["no-such-rule"]).await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_lifetime_beyond_the_class_is_refused_with_the_longest() -> Result<()> {
    up_is_refused(&["--lifetime", "1000h"], &["24h"]).await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_name_that_is_taken_is_refused_and_its_owner_lives() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        ws.up("taken", project.path()).await?;
        let second = ws.run_in(project.path(), &["up", "--name", "taken", "--detach"]).await?;
        is_a_clear_refusal(second, &["taken"])?;
        ws.bash("taken", "true").await?.ok().map(drop)
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn an_image_that_cannot_be_pulled_is_said_at_once() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let image = "localhost/ws-missing:1";
        let class = class::create(lab, json!({"image": image})).await?;
        let project = Project::sample()?;
        let refused = ws.run_in(project.path(), &["up", "--class", &class, "--detach"]).await?;
        is_a_clear_refusal(refused, &[image])?;
        class::delete(lab, &class).await?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_pod_that_fits_no_node_is_said_within_two_seconds_of_the_scheduler() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let class = class::create(lab, json!({"scheduling": {"nodeSelector": {"no": "node"}}})).await?;
        let project = Project::sample()?;
        let mut up = ws.start(project.path(), &["up", "--name", "nowhere", "--class", &class])?;
        let condition = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}";
        eventually(Duration::from_secs(5), "reason Unschedulable", async || {
            let reason =
                lab.kubectl(&["-n", namespace, "get", "workspace", "nowhere", "-o", condition]).await?;
            anyhow::Ok((reason.stdout == "Unschedulable").then_some(()))
        })
        .await?;
        interrupt(&up).await?;
        up.wait().await?;
        class::delete(lab, &class).await?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_quota_that_is_used_up_is_said() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        lab.kubectl(&["-n", namespace, "create", "quota", "none", "--hard=pods=0"]).await?.ok()?;
        let project = Project::sample()?;
        is_a_clear_refusal(ws.run_in(project.path(), &["up", "--detach"]).await?, &["quota"])?;
        nothing_is_left(lab, namespace, Duration::from_secs(15)).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_user_who_may_not_hears_which_permission_is_missing() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let user = User::create(lab, namespace, "powerless", ws.home()).await?;
        let ws = ws.with_kubeconfig(user.kubeconfig());
        let project = Project::sample()?;
        let refused = ws.run_in(project.path(), &["up", "--detach"]).await?;
        is_a_clear_refusal(refused, &["create", "workspaces", namespace])
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_resource_with_every_field_wrong_is_refused_with_every_field_named() -> Result<()> {
    let lab = Lab::running().await?;
    let workspace = json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "wrong", "namespace": "default"},
        "spec": {"className": "No Such", "image": "", "sshPublicKeys": ["ssh-rsa AAAA"], "egress": [""], "lifetime": "forever"},
    });
    let refused = lab.kubectl_with(&["create", "-f", "-"], &workspace.to_string()).await?.code(1)?;
    for field in ["className", "image", "sshPublicKeys", "egress", "lifetime"] {
        assert!(refused.stderr.contains(field), "{field}: {refused}");
    }
    let class = json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "WorkspaceClass", "metadata": {"name": "wrong"},
        "spec": {
            "image": "", "allowedImages": ["*", "a*b"], "lifetime": {"default": "never", "max": "1x", "idle": ""},
            "egress": {"rules": [
                {"name": "UPPER", "hosts": ["*.example.com"]},
                {"name": "address", "hosts": ["10.0.0.1"]},
                {"name": "dot", "hosts": ["example.com."]},
                {"name": "single", "hosts": ["localhost"]},
                {"name": "port", "hosts": ["example.com"], "ports": [0]},
            ]},
        },
    });
    let refused = lab.kubectl_with(&["create", "-f", "-"], &class.to_string()).await?.code(1)?;
    for field in [
        "spec.image",
        "allowedImages[0]",
        "allowedImages[1]",
        "lifetime.default",
        "lifetime.max",
        "lifetime.idle",
        "rules[0].name",
        "rules[0].hosts[0]",
        "rules[1].hosts[0]",
        "rules[2].hosts[0]",
        "rules[3].hosts[0]",
        "rules[4].ports[0]",
    ] {
        assert!(refused.stderr.contains(field), "{field}: {refused}");
    }
    Ok(())
}

/// Ctrl-C.
pub(crate) async fn interrupt(child: &tokio::process::Child) -> Result<()> {
    signal(child, "INT").await
}

pub(crate) async fn signal(child: &tokio::process::Child, name: &str) -> Result<()> {
    let pid = child.id().context("it has ended already")?.to_string();
    let mut kill = tokio::process::Command::new("kill");
    kill.args([&format!("-{name}"), &pid]);
    ws_tests::command::run(kill, Duration::from_secs(5)).await?.ok().map(drop)
}
