//! Requests that change something on the API server, made by ws' own parts for one workspace from its creation to its end.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Deserialize;
use ws_tests::{lab::Lab, namespace::with_namespace, project::Project, ws::Ws};

use crate::report::{Bar, Report, progress};

/// One entry of the API server's [audit log](https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    resource: String,
    subresource: Option<String>,
    namespace: Option<String>,
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let mut counted = BTreeMap::new();
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::sample()?;
        ws.run_in(project.path(), &["run", "--name", "counted", "--", "true"]).await?.ok()?;
        counted = writes(lab, namespace)?;
        Ok(())
    })
    .await?;
    for (write, count) in &counted {
        progress(&format!("{count} {write}"));
    }
    let total: u32 = counted.values().sum();
    ensure!(total > 0, "the audit log knows of no write");
    report.figure("API writes a workspace, create to gone", "", (total.into(), 0), Some(Bar::AtMost(10.0)));
    Ok(())
}

/// How often who wrote what in the namespace.
fn writes(lab: &Lab, namespace: &str) -> Result<BTreeMap<String, u32>> {
    let mut counted = BTreeMap::new();
    for line in lab.audit()?.lines() {
        let Event { verb, user: User { username }, object_ref: Some(object) } = serde_json::from_str(line)?
        else {
            continue;
        };
        let Some(author) = author(&username) else { continue };
        // The test itself makes the namespace's other objects; opening a connection to a pod is a "create" that writes nothing.
        let ours = author != "ws" || object.resource == "workspaces";
        if ours
            && object.namespace.as_deref() == Some(namespace)
            && object.subresource.as_deref() != Some("portforward")
        {
            let subresource = object.subresource.map(|name| format!("/{name}")).unwrap_or_default();
            *counted.entry(format!("{verb} {}{subresource} by {author}", object.resource)).or_default() += 1;
        }
    }
    Ok(counted)
}

fn author(username: &str) -> Option<&str> {
    match username {
        "system:serviceaccount:ws-system:ws-operator" => Some("ws-operator"),
        "system:serviceaccount:ws-system:ws-gateway" => Some("ws-gateway"),
        _ if !username.starts_with("system:") => Some("ws"),
        _ => None,
    }
}
