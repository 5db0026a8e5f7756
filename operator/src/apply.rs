//! Writes to the API server, each of them safe to repeat: the operator may die after any of them.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::{NamespaceResourceScope, Status},
};
use serde::{Serialize, de::DeserializeOwned};
use ws_api::{
    OPERATOR_FIELD_MANAGER,
    workspace::{Workspace, WorkspaceStatus},
};

use crate::{
    error::Error,
    reason::{Cause, Reason},
    text::printable,
};

/// Seconds that a pod which the operator ends has for it.
const GRACE: u32 = 1;

/// What became of a request to create something.
#[derive(Debug)]
pub enum Created<K> {
    New(K),
    /// There is one of this name.
    Exists,
    /// The API server will not have it, and says why.
    Refused(Cause),
}

/// Objects of a namespace that can be written.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}

/// Makes the object as described, whatever it was: a server-side apply that takes over every field it names.
pub async fn apply<K: Object>(client: &Client, object: &K) -> Result<K, Error> {
    let params = PatchParams::apply(OPERATOR_FIELD_MANAGER).force().validation_strict();
    let api = Api::<K>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await.map_err(|source| Error::Write {
        kind: K::kind(&()).into_owned(),
        name: object.name_any(),
        source,
    })
}

/// Makes the object unless one of its name exists.
///
/// Not an apply: that would merge into an object of a stranger that happens to have the name. Nor is anything lost, since what
/// is created here never changes.
pub async fn create<K: Object>(client: &Client, object: &K) -> Result<Created<K>, Error> {
    let api = Api::<K>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let params = PostParams { field_manager: Some(OPERATOR_FIELD_MANAGER.into()), dry_run: false };
    match api.create(&params, object).await {
        Ok(created) => Ok(Created::New(created)),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Created::Exists),
        Err(source) => match refusal(&K::kind(&()), &source) {
            Some(cause) => Ok(Created::Refused(cause)),
            None => Err(Error::Write { kind: K::kind(&()).into_owned(), name: object.name_any(), source }),
        },
    }
}

/// Applies the operator's part of the status; returns the Workspace as it is then, or none if it is gone.
pub async fn report(
    client: &Client,
    workspace: &Workspace,
    status: &WorkspaceStatus,
) -> Result<Option<Workspace>, Error> {
    let patch = serde_json::json!({
        "apiVersion": Workspace::api_version(&()),
        "kind": Workspace::kind(&()),
        // Without the UID this would be the status of whatever has the name by now.
        "metadata": {"uid": workspace.uid()},
        "status": status,
    });
    let api = Api::<Workspace>::namespaced(client.clone(), &workspace.namespace().unwrap_or_default());
    let params = PatchParams::apply(OPERATOR_FIELD_MANAGER).force().validation_strict();
    match api.patch_status(&workspace.name_any(), &params, &Patch::Apply(patch)).await {
        Ok(workspace) => Ok(Some(workspace)),
        Err(kube::Error::Api(status)) if is_gone(&status) => Ok(None),
        Err(source) => Err(Error::Status(source)),
    }
}

/// Deletes the pod with this UID. One that is gone is fine.
pub async fn delete_pod(client: &Client, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
    let params = DeleteParams::default().grace_period(GRACE).preconditions(only(uid));
    delete::<Pod>(client, namespace, name, &params).await
}

/// Deletes the Workspace after everything that it owns, so that when it is gone, all is.
pub async fn delete_workspace(client: &Client, workspace: &Workspace) -> Result<(), Error> {
    let params = DeleteParams::foreground().preconditions(only(&workspace.uid().unwrap_or_default()));
    let namespace = workspace.namespace().unwrap_or_default();
    delete::<Workspace>(client, &namespace, &workspace.name_any(), &params).await
}

/// Deletes an object. That it is gone, or another one by now, is fine.
pub async fn delete<K: Object>(
    client: &Client,
    namespace: &str,
    name: &str,
    params: &DeleteParams,
) -> Result<(), Error> {
    match Api::<K>::namespaced(client.clone(), namespace).delete(name, params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if is_gone(&status) => Ok(()),
        Err(source) => Err(Error::Delete { kind: K::kind(&()).into_owned(), name: name.to_owned(), source }),
    }
}

fn only(uid: &str) -> Preconditions {
    Preconditions { uid: Some(uid.to_owned()), resource_version: None }
}

/// Not there, or there under another UID.
fn is_gone(status: &Status) -> bool {
    status.is_not_found() || status.is_conflict()
}

/// Why the API server will never have this object of this kind as it is. None: it may yet, or it is the operator's own
/// trouble.
fn refusal(kind: &str, error: &kube::Error) -> Option<Cause> {
    let kube::Error::Api(status) = error else { return None };
    let message = status.message.as_str();
    let says = |part: &str| message.contains(part);
    let detail = printable(message);
    if says("exceeded quota") {
        return Some(Cause::new(
            Reason::QuotaExceeded,
            format!("the namespace's quota is used up ({detail}); end a workspace, or ask an admin for more"),
        ));
    }
    if says("admission webhook") || says("ValidatingAdmissionPolicy") {
        return Some(Cause::new(
            Reason::AdmissionDenied,
            format!(
                "the cluster's admission refused the {kind} ({detail}); ask an admin whether the class fits the namespace"
            ),
        ));
    }
    // The operator's own permissions, a namespace that is going away with everything in it, and one so new that its service
    // account is still to come.
    if says("cannot create resource") || says("being terminated") || says("error looking up service account")
    {
        return None;
    }
    if status.is_forbidden() && says("RuntimeClass") {
        return Some(Cause::new(
            Reason::RuntimeClassNotFound,
            format!("the class's runtime is not there ({detail}); ask an admin to install it"),
        ));
    }
    if status.is_forbidden() {
        return Some(Cause::new(
            Reason::AdmissionDenied,
            format!("the namespace does not take the {kind} ({detail}); use another namespace or class"),
        ));
    }
    (status.is_invalid() || status.code == 400).then(|| {
        Cause::new(
            Reason::InvalidPod,
            format!("the class makes no valid {kind} ({detail}); ask an admin to correct it"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api_error(code: u16, reason: &str, message: &str) -> kube::Error {
        let status = Status { code, reason: reason.into(), message: message.into(), ..Status::default() };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn a_refused_pod_says_who_refused_it() {
        for (code, reason, message, expected) in [
            (
                403,
                "Forbidden",
                "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1",
                Some(Reason::QuotaExceeded),
            ),
            (
                403,
                "Forbidden",
                "pods \"x\" is forbidden: [maximum memory usage per Pod is 1Gi]",
                Some(Reason::AdmissionDenied),
            ),
            (
                403,
                "Forbidden",
                "pods \"x\" is forbidden: violates PodSecurity \"restricted\"",
                Some(Reason::AdmissionDenied),
            ),
            (
                403,
                "Forbidden",
                "pod rejected: RuntimeClass \"gvisor\" not found",
                Some(Reason::RuntimeClassNotFound),
            ),
            (403, "Forbidden", "pods is forbidden: User \"u\" cannot create resource \"pods\"", None),
            (403, "Forbidden", "pods \"x\" is forbidden: error looking up service account n/default", None),
            (403, "Forbidden", "unable to create new content because it is being terminated", None),
            (400, "BadRequest", "admission webhook \"w\" denied the request", Some(Reason::AdmissionDenied)),
            (
                422,
                "Invalid",
                "ValidatingAdmissionPolicy 'p' with binding 'b' denied request",
                Some(Reason::AdmissionDenied),
            ),
            (
                422,
                "Invalid",
                "Pod \"x\" is invalid: spec.containers[0].resources.requests",
                Some(Reason::InvalidPod),
            ),
            (404, "NotFound", "namespaces \"n\" not found", None),
            (500, "InternalError", "etcd", None),
        ] {
            assert_eq!(
                refusal("Pod", &api_error(code, reason, message)).map(|cause| cause.reason),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn a_refused_secret_is_not_called_a_pod() {
        for (code, reason) in [(403, "Forbidden"), (400, "BadRequest"), (422, "Invalid")] {
            for message in ["no", "admission webhook \"w\" denied the request"] {
                let cause = refusal("Secret", &api_error(code, reason, message)).unwrap();
                assert!(
                    cause.message.contains("Secret") && !cause.message.contains("Pod"),
                    "{}",
                    cause.message
                );
            }
        }
    }
}
