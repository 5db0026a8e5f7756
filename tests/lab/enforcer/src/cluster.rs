//! What the enforcer knows of the cluster at one moment.

use std::{net::Ipv4Addr, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    networking::v1::NetworkPolicy,
};

use crate::link::Link;

/// The pods of the node that may have traffic, and all that decides which; in no particular order.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub pods: Vec<LinkedPod>,
    pub namespaces: Vec<Arc<Namespace>>,
    pub policies: Vec<Arc<NetworkPolicy>>,
}

/// A pod and its place on the bridge.
#[derive(Clone, Debug)]
pub struct LinkedPod {
    pub pod: Arc<Pod>,
    pub link: Link,
}

impl LinkedPod {
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.link.address
    }
}
