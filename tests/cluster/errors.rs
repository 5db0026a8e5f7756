//! What people meet first: each mistake is one sentence, one hint and exit code 1.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::core::v1::Pod,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use ws_api::{OPERATOR_FIELD_MANAGER, workspace::Workspace};
use ws_tests::{
    class,
    lab::Lab,
    namespace::{SOON, nothing_is_left, with_namespace},
    project::Project,
    user::User,
    wait::eventually,
    ws::Ws,
};

/// A key as anybody makes one.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti example";

/// `ws up` with these arguments is refused, says `what`, and leaves nothing.
async fn up_is_refused(arguments: &[&str], what: &[&str]) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        let refused = ws.run_in(project.path(), &[&["up", "--detach"], arguments].concat()).await?;
        refused.is_a_clear_refusal(what)?;
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
        second.is_a_clear_refusal(&["taken"])?;
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
        refused.is_a_clear_refusal(&[image])?;
        class::delete(lab, &class).await?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn why_a_pod_cannot_start_is_said_within_two_seconds() -> Result<()> {
    let nowhere = json!({"scheduling": {"nodeSelector": {"no": "node"}}});
    is_said_in_time("Unschedulable", nowhere, None, async |lab, namespace, _| {
        let pod = lab.kubectl(&["-n", namespace, "get", "pod", STUCK, "-o", "json"]).await?.ok()?;
        unschedulable_since(&serde_json::from_str(&pod.stdout)?)
    })
    .await?;
    let missing = json!({"image": "localhost/ws-missing:1"});
    is_said_in_time("ErrImagePull", missing, None, async |lab, namespace, _| {
        // The pod is gone by then; the kubelet's event of its first attempt is not.
        let first = "jsonpath={.items[0].firstTimestamp}";
        let events = ["-n", namespace, "get", "events", "--field-selector=reason=Failed", "-o", first];
        lab.kubectl(&events).await?.ok()?.stdout.parse().context("the kubelet said nothing")
    })
    .await?;
    // The API server refuses these pods when they are made, which is at once.
    let created = async |_: &Lab, _: &str, workspace: &Workspace| {
        workspace.creation_timestamp().map(|time| time.0).context("a stored object has a time")
    };
    let (quota, limits) = (
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}),
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
            "spec": {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]}}),
    );
    is_said_in_time("QuotaExceeded", json!({}), Some(quota), created).await?;
    is_said_in_time("AdmissionDenied", json!({}), Some(limits), created).await
}

/// A workspace that nobody waits for, so that it stays and tells.
const STUCK: &str = "stuck";

/// Makes a workspace of a class with these changes, in a namespace with this object, and fails unless its status says `reason`
/// within two seconds of the moment that `known` finds.
async fn is_said_in_time(
    reason: &str,
    class: Value,
    object: Option<Value>,
    known: impl AsyncFnOnce(&Lab, &str, &Workspace) -> Result<Timestamp>,
) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let class = class::create(lab, class).await?;
        let workspace = json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": STUCK},
            "spec": {"className": class, "sshPublicKeys": [KEY]},
        });
        for object in object.iter().chain([&workspace]) {
            lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &object.to_string()).await?.ok()?;
        }
        let get = ["-n", namespace, "get", "workspace", STUCK, "-o", "json", "--show-managed-fields"];
        let workspace = eventually(SOON, reason, async || {
            let workspace: Workspace = serde_json::from_str(&lab.kubectl(&get).await?.ok()?.stdout)?;
            let conditions = workspace.status.as_ref().map_or(&[][..], |status| &status.conditions);
            let is_said = conditions.iter().any(|condition| condition.reason == reason);
            ensure!(is_said, "{conditions:?}");
            anyhow::Ok(Some(workspace))
        })
        .await?;
        let (known, said) = (known(lab, namespace, &workspace).await?, status_written(&workspace)?);
        // Both are cut to the second.
        ensure!(
            said.duration_since(known) <= SignedDuration::from_secs(2),
            "{reason}: known at {known}, said at {said}"
        );
        lab.kubectl(&["-n", namespace, "delete", "workspace", STUCK]).await?.ok()?;
        class::delete(lab, &class).await?;
        nothing_is_left(lab, namespace, SOON).await
    })
    .await
}

/// When the scheduler said so.
fn unschedulable_since(pod: &Pod) -> Result<Timestamp> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let scheduled = conditions.into_iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    let since = scheduled.and_then(|condition| condition.last_transition_time.as_ref());
    Ok(since.context("the scheduler has not looked at the pod")?.0)
}

/// When the operator last wrote the status. The time of a condition does not tell: it stays while only the reason changes.
fn status_written(workspace: &Workspace) -> Result<Timestamp> {
    let mut writes = workspace.managed_fields().iter();
    let write = writes.find(|write| write.manager.as_deref() == Some(OPERATOR_FIELD_MANAGER));
    let time = write.and_then(|write| write.time.as_ref());
    Ok(time.context("the operator has written no status")?.0)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_pod_that_admission_refuses_is_said() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let limits = json!({
            "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
            "spec": {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]},
        });
        lab.kubectl_with(&["-n", namespace, "create", "-f", "-"], &limits.to_string()).await?.ok()?;
        let project = Project::sample()?;
        let refused = ws.run_in(project.path(), &["up", "--detach"]).await?;
        refused.is_a_clear_refusal(&["maximum memory usage", "16Mi"])?;
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
        ws.run_in(project.path(), &["up", "--detach"]).await?.is_a_clear_refusal(&["quota"])?;
        nothing_is_left(lab, namespace, SOON).await
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
        refused.is_a_clear_refusal(&["create", "workspaces", namespace])
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
            "runtimeClassName": "Not A Name",
            "resources": {"limits": {"cpu": "many"}, "requests": {"memory": "-1Gi"}},
            "scheduling": {"tolerations": [{"operator": "Maybe", "effect": "Never"}]},
            "egress": {"budget": {"upload": "plenty"}, "rules": [
                {"name": "UPPER", "hosts": ["*.example.com"]},
                {"name": "address", "hosts": ["10.0.0.1"]},
                {"name": "dot", "hosts": ["example.com."]},
                {"name": "single", "hosts": ["localhost"]},
                {"name": "port", "hosts": ["example.com"], "ports": [0]},
                {"name": "service", "service": {"namespace": "A", "name": "Ü b", "port": 0}},
                {"name": "credential", "hosts": ["example.com"], "credential": {"secretName": "", "key": ""}},
                {"name": "passthrough", "hosts": ["example.com"], "passthrough": {"acknowledged": "yes"}},
                {"name": "request", "hosts": ["example.com"], "scheme": "ftp", "repositories": ["none"], "allow": [
                    {"methods": ["get"], "paths": ["x"], "headers": [{"name": "X Y"}], "body": {"max": "-1"}},
                ]},
                {"name": "upper", "hosts": ["Docs.example"]},
                {"name": "six", "hosts": ["2600:db8:1::1", "[2600:db8:1::1]"]},
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
        "rules[5].service.namespace",
        "rules[5].service.name",
        "rules[5].service.port",
        "rules[6].credential.secretName",
        "rules[6].credential.key",
        "rules[7].passthrough.acknowledged",
        "rules[8].scheme",
        "rules[8].repositories[0]",
        "rules[8].allow[0].methods[0]",
        "rules[8].allow[0].paths[0]",
        "rules[8].allow[0].headers[0].name",
        "rules[8].allow[0].body.max",
        "rules[9].hosts[0]",
        "rules[10].hosts[0]",
        "rules[10].hosts[1]",
        "runtimeClassName",
        "resources.limits.cpu",
        "resources.requests.memory",
        "tolerations[0].operator",
        "tolerations[0].effect",
        "budget.upload",
    ] {
        assert!(refused.stderr.contains(field), "{field}: {refused}");
    }
    Ok(())
}

/// Rules over more than one field are looked at only in objects whose fields are right each by itself.
#[tokio::test]
#[ignore = "needs the lab"]
async fn a_resource_that_breaks_every_rule_is_refused_with_every_rule_named() -> Result<()> {
    let lab = Lab::running().await?;
    let class = json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "WorkspaceClass", "metadata": {"name": "1.wrong"},
        "spec": {
            "image": "localhost/ws-missing:1", "lifetime": {"default": "30s", "max": "10s", "idle": "1s"},
            "resources": {"claims": [{"name": "gpu"}], "limits": {"cpu": 1}, "requests": {"cpu": "1500m"}},
            "egress": {"rules": [
                {"name": "nothing"},
                {"name": "both", "hosts": ["example.com"], "service": {"namespace": "a", "name": "b", "port": 1}},
                {"name": "allow", "preset": "cargo", "allow": [{"methods": ["GET"], "paths": ["/"]}]},
                {"name": "service", "service": {"namespace": "a", "name": "b", "port": 1}, "ports": [1]},
                {"name": "passed", "hosts": ["example.com"], "passthrough": {"acknowledged": "uninspected"},
                    "credential": {"secretName": "s", "key": "k"}, "budget": {}},
            ]},
        },
    });
    let refused = lab.kubectl_with(&["create", "-f", "-"], &class.to_string()).await?.code(1)?;
    for rule in [
        "the name of a class is at most",
        "longer than the longest",
        "the default lifetime is less than 1m",
        "an idle time is at least 5s",
        "no resource claims",
        "more is requested than the limit",
        "a rule names either",
        "rules[0]: ",
        "rules[1]: ",
        "say what is allowed",
        "a preset brings its own",
        "a service says its port itself",
        "what is passed through is not looked into",
        "what is passed through has a `budget.upload`",
        "say `upload`, `request` or `notFound`",
    ] {
        assert!(refused.stderr.contains(rule), "{rule}: {refused}");
    }
    let workspace = json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "1.wrong", "namespace": "default"},
        "spec": {"sshPublicKeys": ["ssh-ed25519 AAAA"], "lifetime": "59s"},
    });
    let refused = lab.kubectl_with(&["create", "-f", "-"], &workspace.to_string()).await?.code(1)?;
    for rule in ["the name of a workspace is at most", "a lifetime is at least 1m"] {
        assert!(refused.stderr.contains(rule), "{rule}: {refused}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_workspace_cannot_be_changed() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("fixed", Project::empty()?.path()).await?;
        for spec in [json!({"lifetime": "23h"}), json!({"egress": []}), json!({"className": "other"})] {
            let patch = json!({"spec": spec}).to_string();
            let patch = ["-n", namespace, "patch", "workspace", "fixed", "--type=merge", "-p", &patch];
            let refused = lab.kubectl(&patch).await?.code(1)?;
            assert!(refused.stderr.contains("cannot be changed"), "{refused}");
        }
        Ok(())
    })
    .await
}

pub(crate) async fn signal(child: &tokio::process::Child, name: &str) -> Result<()> {
    let pid = child.id().context("it has ended already")?.to_string();
    let mut kill = tokio::process::Command::new("kill");
    kill.args([&format!("-{name}"), &pid]);
    ws_tests::command::run(kill, Duration::from_secs(5)).await?.ok().map(drop)
}
