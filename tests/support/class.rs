//! Classes for tests that need one of their own.

use anyhow::{Context as _, Result};

use crate::{lab::Lab, namespace::unique_name};

/// Creates a class like the chart's default one with `changes` merged into its spec (a JSON object), and returns its name.
pub async fn create(lab: &Lab, changes: serde_json::Value) -> Result<String> {
    let default = lab.kubectl(&["get", "workspaceclass", "default", "-o", "json"]).await?.ok()?;
    let default: serde_json::Value = serde_json::from_str(&default.stdout)?;
    let mut spec = default.get("spec").cloned().context("a class has a spec")?;
    merge(&mut spec, changes);
    let name = unique_name();
    let class = serde_json::json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "WorkspaceClass", "metadata": {"name": name}, "spec": spec,
    });
    lab.kubectl_with(&["create", "-f", "-"], &class.to_string()).await?.ok()?;
    Ok(name)
}

pub async fn delete(lab: &Lab, name: &str) -> Result<()> {
    lab.kubectl(&["delete", "workspaceclass", name]).await?.ok().map(drop)
}

/// A rule that lets all of these hosts be read.
pub fn reading(name: &str, hosts: &[&str]) -> serde_json::Value {
    serde_json::json!({"name": name, "hosts": hosts, "allow": [{"methods": ["GET"], "paths": ["/**"]}]})
}

/// JSON Merge Patch (RFC 7396).
fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
    let serde_json::Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = serde_json::json!({});
    }
    if let Some(object) = target.as_object_mut() {
        for (key, value) in patch {
            if value.is_null() {
                object.remove(&key);
            } else {
                merge(object.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
    }
}
