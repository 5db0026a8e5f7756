//! What the gateway watches: classes, workspaces, and pods with addresses that the load comes from. Nothing of it runs.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
use serde_json::{Value, json};
use ws_api::{CLASS_LABEL, gateway::TOKEN_MARK, workspace::Workspace};
use ws_ssh::token::Token;
use ws_tests::{
    class,
    lab::Lab,
    pod::{bare_pod, changed},
};

use super::decision;
use crate::load::{HOST, HTTP_PORT, HTTPS_PORT, PASSED_HOST, source};

/// Workspaces that the load comes from.
pub(super) const SOURCES: usize = 100;
/// Writes to the API server at once.
const WRITERS: usize = 16;

pub(super) struct Objects {
    client: Client,
    namespace: String,
    /// The host key of all of them.
    host_key: PrivateKey,
    /// What connections of each begin with, one after the other.
    greetings: Vec<u8>,
}

impl Objects {
    /// Creates the workspaces that the load comes from.
    pub(super) async fn create(lab: &Lab, namespace: &str) -> Result<Self> {
        let host_key = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
        let mut objects = Self {
            client: lab.client().await?,
            namespace: namespace.to_owned(),
            host_key,
            greetings: Vec::new(),
        };
        let class =
            class::create(lab, json!({"egress": {"rules": rules(), "budget": {"upload": "1Ti"}}})).await?;
        objects.greetings = objects.add(0..SOURCES, &[class]).await?.concat();
        Ok(objects)
    }

    /// Creates many more, of ten classes with as many rules as a class may have.
    pub(super) async fn fill(&self, lab: &Lab, count: usize) -> Result<()> {
        let mut classes = Vec::new();
        for _ in 0..10 {
            let rules = decision::rules();
            classes.push(
                class::create(lab, json!({"egress": {"rules": rules, "budget": {"upload": "256Mi"}}}))
                    .await?,
            );
        }
        self.add(SOURCES..SOURCES + count, &classes).await.map(drop)
    }

    /// What the agents would say that the load is in the place of, one after the other.
    pub(super) fn greetings(&self) -> &[u8] {
        &self.greetings
    }

    async fn add(&self, numbers: impl Iterator<Item = usize>, classes: &[String]) -> Result<Vec<Vec<u8>>> {
        let of = |number: usize| classes.get(number % classes.len()).map_or("", String::as_str);
        stream::iter(numbers.map(|number| self.workspace(number, of(number))))
            .buffered(WRITERS)
            .try_collect()
            .await
    }

    /// A workspace as the operator would leave it, and its pod as the kubelet would; what its agent would greet the gateway with.
    async fn workspace(&self, number: usize, class: &str) -> Result<Vec<u8>> {
        let create = PostParams::default();
        let name = format!("load-{number}");
        let workspaces = Api::<Workspace>::namespaced(self.client.clone(), &self.namespace);
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFO/4UYtQoHTSC3QLPTcN3zBr2kVB0OvIghKbYXjyFCr";
        let workspace = json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
            "spec": {"className": class, "sshPublicKeys": [key]},
        });
        let workspace = workspaces.create(&create, &serde_json::from_value(workspace)?).await?;
        let host_key = self.host_key.public_key().to_openssh()?;
        let status = json!({"status": {
            "className": class, "phase": "Ready", "podName": name,
            "ssh": {"hostKey": host_key, "certificates": []},
        }});
        workspaces.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;

        let owner = json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "name": name, "controller": true,
            "uid": workspace.uid().unwrap_or_default(),
        });
        let pod = changed(
            bare_pod(&name, "none.example/none", &["none"]),
            &[
                ("/metadata/labels", json!({CLASS_LABEL: class})),
                ("/metadata/ownerReferences", json!([owner])),
                // Nobody's: it stays what it is.
                ("/spec/schedulerName", "none".into()),
            ],
        )?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let pod = pods.create(&create, &serde_json::from_value(pod)?).await?;
        let address = source(number).to_string();
        let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        let token = Token::sign(&self.host_key, &pod.uid().unwrap_or_default())?;
        Ok([&[TOKEN_MARK][..], token.as_bytes()].concat())
    }
}

/// The host once as plain http, once inspected, once passed through.
fn rules() -> Value {
    json!([
        {
            "name": "plain", "hosts": [HOST], "scheme": "http", "ports": [HTTP_PORT],
            "allow": [{"methods": ["GET"], "paths": ["/**"]}],
        },
        {
            "name": "inspected", "hosts": [HOST], "ports": [HTTPS_PORT],
            "allow": [
                {"methods": ["GET"], "paths": ["/**"]},
                {"methods": ["PUT"], "paths": ["/taken/{file}"], "body": {"max": "1Gi"}},
            ],
        },
        {
            "name": "passed", "hosts": [PASSED_HOST], "ports": [HTTPS_PORT],
            "passthrough": {"acknowledged": "uninspected"}, "budget": {"upload": "1Ti"},
        },
    ])
}
