//! An API server in this process, for tests that need to say what it answers.

use std::{convert::Infallible, future::pending};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::service_fn;

use super::Cluster;

/// A workspace as such a server stores it.
pub fn stored_workspace() -> Value {
    json!({"apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "fix", "uid": "u-1", "resourceVersion": "7"}, "spec": {"sshPublicKeys": []}})
}

impl Cluster {
    /// A cluster that answers a method and a path with a code and a document; with nothing it never answers.
    pub fn told(answer: impl Fn(&str) -> Option<(u16, Value)> + Send + 'static) -> Self {
        let service = service_fn(move |request: Request<Body>| {
            let answer = answer(&format!("{} {}", request.method(), request.uri()));
            async move {
                let Some((code, document)) = answer else { return pending().await };
                let response = Response::builder().status(code).body(format!("{document}\n"));
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        let client = Client::new(service, "team");
        Self { client, namespace: "team".to_owned(), server: "https://k:6443".to_owned() }
    }
}
