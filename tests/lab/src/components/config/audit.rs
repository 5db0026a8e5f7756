//! What the API server keeps a log of: who changed what. The tests count by it.

use serde::Serialize;

/// `Policy` of [`audit.k8s.io/v1`](https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    api_version: &'static str,
    kind: &'static str,
    omit_stages: [&'static str; 3],
    /// The first rule that matches counts; a request that none matches is not logged.
    rules: [Rule; 1],
}

#[derive(Debug, Serialize)]
struct Rule {
    level: &'static str,
    verbs: [&'static str; 5],
}

impl Policy {
    /// One line for each request that changes something, when it has been answered.
    pub(super) fn writes() -> Self {
        Self {
            api_version: "audit.k8s.io/v1",
            kind: "Policy",
            omit_stages: ["RequestReceived", "ResponseStarted", "Panic"],
            rules: [Rule {
                level: "Metadata",
                verbs: ["create", "update", "patch", "delete", "deletecollection"],
            }],
        }
    }
}
