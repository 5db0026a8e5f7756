//! Questions to the lab's API server, and the manifests that a lab begins with.

use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Config};
use serde::Deserialize as _;

use crate::certificates::NODE_NAME;

/// Owns the fields of what the lab applies.
const FIELD_MANAGER: &str = "ws-lab";

/// The API server, as its admin.
#[derive(Clone)]
pub struct Cluster(Client);

impl Cluster {
    /// Prepares a client; nothing is sent.
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).context("reading the kubeconfig")?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .context("reading the kubeconfig")?;
        Ok(Self(Client::try_from(config).context("making a client of the API server")?))
    }

    /// Whether the API server says that it is ready.
    pub async fn serves(&self) -> bool {
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
        self.0.request_text(request).await.is_ok()
    }

    /// Whether the node says that it is ready.
    pub async fn node_is_ready(&self) -> bool {
        let node = Api::<Node>::all(self.0.clone()).get(NODE_NAME).await;
        let conditions = node.ok().and_then(|node| node.status).and_then(|status| status.conditions);
        conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }

    /// Whether a pod can be created in the default namespace: it needs the account that a controller makes.
    pub async fn has_default_account(&self) -> bool {
        Api::<ServiceAccount>::namespaced(self.0.clone(), "default").get("default").await.is_ok()
    }

    /// Applies the objects of a manifest, in its order.
    pub async fn apply(&self, manifest: &str) -> Result<()> {
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        for document in serde_yaml::Deserializer::from_str(manifest) {
            let object = DynamicObject::deserialize(document).context("reading a manifest")?;
            let types = object.types.as_ref().context("an object without a kind")?;
            let name = object.metadata.name.as_deref().context("an object without a name")?;
            let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
            let api: Api<DynamicObject> = match &object.metadata.namespace {
                Some(namespace) => Api::namespaced_with(self.0.clone(), namespace, &resource),
                None => Api::all_with(self.0.clone(), &resource),
            };
            api.patch(name, &parameters, &Patch::Apply(&object))
                .await
                .with_context(|| format!("applying {} {name}", types.kind))?;
        }
        Ok(())
    }
}
