//! What several tests need.

use std::{
    io::{self, Write},
    net::IpAddr,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
use serde_json::{Value, json};
use ws_policy::addresses::Special;

use crate::{
    policies::{ObservedClass, ObservedWorkspace, Policies},
    session::{Session, lock},
    sessions::{Identity, Observed},
    trust,
    upstream::{Lookup, Resolve, Upstream},
};

pub fn identity() -> Identity {
    Identity {
        namespace: "team-a".into(),
        workspace: "fix-tests".parse().unwrap(),
        workspace_uid: "ws-uid".into(),
        class: "default".parse().unwrap(),
        pod_uid: "pod-uid".into(),
        created: "2026-11-21T08:00:00Z".parse().unwrap(),
    }
}

/// The workspace's host key.
pub fn host_key() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]))
}

pub fn session() -> Arc<Session> {
    Arc::new(Session::new(identity()))
}

pub fn observed(address: &str) -> Observed {
    Observed { identity: identity(), addresses: vec![address.parse().unwrap()], is_ending: false }
}

/// The policies of the workspace of [`identity`], whose class has these rules.
pub fn policies_with(rules: &Value) -> Policies {
    let mut policies = Policies::default();
    policies.insert_class(class(rules));
    let workspace = json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "fix-tests", "namespace": "team-a", "uid": "ws-uid"},
        "spec": {"sshPublicKeys": []},
        "status": {"className": "default", "ssh": {"hostKey": host_key().public_key().to_openssh().unwrap(), "certificates": []}},
    });
    policies.insert_workspace(ObservedWorkspace::of(&serde_json::from_value(workspace).unwrap()).unwrap());
    policies
}

/// The class `default` with these rules.
pub fn class(rules: &Value) -> ObservedClass {
    let class = json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "WorkspaceClass", "metadata": {"name": "default"},
        "spec": {"image": "localhost/ws:1", "egress": {"rules": rules}},
    });
    ObservedClass::of(&serde_json::from_value(class).unwrap())
}

/// The policies of a class that allows nothing.
pub fn policies() -> Policies {
    policies_with(&json!([]))
}

/// A way out on which every name is this machine's, which only a service may be.
pub fn upstream() -> Upstream {
    let resolve = Resolve::new(Loopback, Special::default());
    let services = resolve.of_services(Special::only(Vec::new()));
    Upstream::new(resolve, services, trust::outside(None).unwrap())
}

struct Loopback;

impl Lookup for Loopback {
    fn addresses(&self, _: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

/// A sink that can be read.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Shared {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }

    pub fn lines(&self) -> Vec<Value> {
        let bytes = lock(&self.bytes);
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.bytes).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
