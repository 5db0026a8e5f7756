//! The custom resource definitions of all objects of ws.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::{class::WorkspaceClass, workspace::Workspace};

/// All of them, in the order in which they are listed.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [Workspace::crd(), WorkspaceClass::crd()]
}
