//! Objects for the tests, as the API server would hand them out.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
use serde::de::DeserializeOwned;
use ws_api::{
    class::WorkspaceClass,
    workspace::{Phase, Workspace},
};

use crate::build::{Installation, Surroundings};

pub(crate) mod cluster;

pub(crate) const UID: &str = "6f6b1f0e-0000-4000-8000-000000000001";
pub(crate) const POD_UID: &str = "6f6b1f0e-0000-4000-8000-000000000002";
pub(crate) const CREATED: &str = "2026-11-20T10:00:00Z";
pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti session";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Time {
    Time(time(text))
}

/// An object from YAML, as readers of Kubernetes know it.
pub(crate) fn object<K: DeserializeOwned>(yaml: &str) -> K {
    serde_yaml::from_str(yaml).unwrap()
}

pub(crate) fn workspace() -> Workspace {
    object(&format!(
        "apiVersion: ws.dev/v1alpha1
kind: Workspace
metadata: {{name: fix-tests, namespace: team-a, uid: {UID}, generation: 1, resourceVersion: '7', creationTimestamp: {CREATED}}}
spec: {{className: default, sshPublicKeys: ['{KEY}']}}"
    ))
}

/// The workspace once its pod has been made.
pub(crate) fn given_a_pod(mut workspace: Workspace) -> Workspace {
    let status = workspace.status.get_or_insert_default();
    status.phase = Some(Phase::Starting);
    status.class_name = Some("default".into());
    status.pod_uid = Some(POD_UID.into());
    workspace
}

pub(crate) fn class() -> WorkspaceClass {
    object(
        "apiVersion: ws.dev/v1alpha1
kind: WorkspaceClass
metadata: {name: default, annotations: {ws.dev/is-default-class: 'true'}}
spec:
  image: ghcr.io/ws-dev/workspace:1
  allowedImages: [ghcr.io/acme/*]
  egress:
    rules:
    - {name: docs, hosts: [docs.rs], allow: [{methods: [GET], paths: ['/**']}]}",
    )
}

/// The workspace's pod, with this status (YAML in flow style).
pub(crate) fn pod(status: &str) -> Pod {
    object(&format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: fix-tests
  namespace: team-a
  uid: {POD_UID}
  labels: {{app.kubernetes.io/managed-by: ws, ws.dev/class: default}}
  ownerReferences: [{{apiVersion: ws.dev/v1alpha1, kind: Workspace, name: fix-tests, uid: {UID}, controller: true}}]
status: {status}"
    ))
}

pub(crate) fn ca() -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]))
}

pub(crate) fn installation() -> Installation {
    Installation {
        namespace: "ws-system".into(),
        user_ca: ca().public_key().to_openssh().unwrap(),
        api_server: "10.96.0.1:443".parse().unwrap(),
        stock_images: vec!["ghcr.io/ws-dev/workspace".into()],
        agent_image: "ghcr.io/ws-dev/agent:1".into(),
        isolation_deadline: Duration::from_mins(1),
    }
}

pub(crate) fn surroundings() -> Surroundings {
    Surroundings {
        installation: Arc::new(installation()),
        gateway: IpAddr::from([10, 96, 0, 7]),
        cluster_dns: Some(IpAddr::from([10, 96, 0, 10])),
        nodes: crate::nodes::Features { user_namespaces: true, image_volumes: true },
    }
}
