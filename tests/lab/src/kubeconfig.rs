//! One kubeconfig for each client of the API server.

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

use crate::certificates::{CLIENTS, Client, Pki, write_secret};
use crate::network;

/// The name of cluster and context in every kubeconfig.
const CONTEXT: &str = "ws-lab";

/// Writes `NAME.kubeconfig` into `folder` for everybody in [`CLIENTS`].
pub fn write_all(folder: &Path, pki: &Pki) -> Result<()> {
    CLIENTS.iter().try_for_each(|client| {
        let text = serde_json::to_string_pretty(&kubeconfig(client, pki)).context("writing a kubeconfig")?;
        write_secret(&folder.join(format!("{}.kubeconfig", client.name)), &text)
    })
}

fn kubeconfig(client: &Client, pki: &Pki) -> Kubeconfig {
    let file = |name: String| Some(pki.path(&name).display().to_string());
    Kubeconfig {
        api_version: Some("v1".to_owned()),
        kind: Some("Config".to_owned()),
        current_context: Some(CONTEXT.to_owned()),
        clusters: vec![NamedCluster {
            name: CONTEXT.to_owned(),
            cluster: Some(Cluster {
                server: Some(format!("https://{}:6443", network::NODE_ADDRESS)),
                certificate_authority: file("ca.crt".to_owned()),
                ..Cluster::default()
            }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: client.name.to_owned(),
            auth_info: Some(AuthInfo {
                client_certificate: file(format!("{}.crt", client.name)),
                client_key: file(format!("{}.key", client.name)),
                ..AuthInfo::default()
            }),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: CONTEXT.to_owned(),
            context: Some(Context {
                cluster: CONTEXT.to_owned(),
                user: Some(client.name.to_owned()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        ..Kubeconfig::default()
    }
}
