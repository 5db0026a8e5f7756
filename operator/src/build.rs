//! Desired state: pure functions from a validated workspace to Kubernetes objects, one for each object.

use std::{collections::BTreeMap, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::{Pod, Secret},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use ws_api::{CLASS_LABEL, MANAGED_BY, MANAGED_BY_LABEL, names::ClassName};

use crate::{nodes::Features, user_ca::HostKey, validate::Validated};

pub mod access;
pub mod network;
pub mod pod;

/// Everything that a workspace needs, in the order in which it is made.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Shared by the workspaces of a class in a namespace.
    pub network_policy: NetworkPolicy,
    pub host_key: Secret,
    pub pod: Pod,
}

/// What is the same for all workspaces as long as this process runs.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Namespace of ws itself.
    pub namespace: String,
    /// Public key of the CA that signs users' certificates, as a line of OpenSSH's `authorized_keys` format.
    pub user_ca: String,
    /// Address of the API server as pods would dial it.
    pub api_server: SocketAddr,
    /// Repositories of images that hold the agent.
    pub stock_images: Vec<String>,
    /// Image that brings the agent into all others.
    pub agent_image: String,
    pub isolation_deadline: Duration,
}

/// What a pod is made for: the installation and what the cluster is like right now.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub installation: Arc<Installation>,
    /// Address of the gateway's Service.
    pub gateway: IpAddr,
    /// Address of the cluster's DNS, if it has one where clusters usually have it.
    pub cluster_dns: Option<IpAddr>,
    /// What every node that could take the pod can do.
    pub nodes: Features,
}

/// All objects of a workspace.
pub fn desired(workspace: &Validated, surroundings: &Surroundings, host_key: &HostKey) -> Desired {
    Desired {
        network_policy: network::class_policy(
            &workspace.namespace,
            &workspace.class,
            &surroundings.installation.namespace,
        ),
        host_key: access::host_key_secret(workspace, host_key),
        pod: pod::pod(workspace, surroundings),
    }
}

/// Metadata of an object that belongs to the workspace and vanishes with it.
fn owned(workspace: &Validated, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(workspace.namespace.clone()),
        labels: Some(labels(&workspace.class)),
        owner_references: Some(vec![workspace.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// The labels of everything that belongs to a class. The same for all its pods: see [`CLASS_LABEL`].
pub fn labels(class: &ClassName) -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY_LABEL.into(), MANAGED_BY.into()), (CLASS_LABEL.into(), class.to_string())])
}

#[cfg(test)]
mod tests;
