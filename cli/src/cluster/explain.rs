//! Failures of the cluster in a user's words: what happened, and what to do about it.

use kube::core::Status;
use ws_api::workspace::{Phase, Workspace, condition};

use crate::error::{Error, chain};

const WORKSPACES: &str = "workspaces.ws.dev";
const CLASSES: &str = "workspaceclasses.ws.dev";

/// A request as RBAC names it.
#[derive(Clone, Debug)]
pub struct Access {
    verb: &'static str,
    resource: &'static str,
    scope: Scope,
    name: String,
}

#[derive(Clone, Debug)]
enum Scope {
    Cluster,
    AllNamespaces,
    Namespace(String),
}

impl Access {
    /// To the workspaces of a namespace.
    pub fn new(verb: &'static str, namespace: &str) -> Self {
        Self::to(verb, WORKSPACES, namespace)
    }

    /// To the workspaces of all namespaces.
    pub fn everywhere(verb: &'static str) -> Self {
        Self { verb, resource: WORKSPACES, scope: Scope::AllNamespaces, name: String::new() }
    }

    /// To classes.
    pub fn to_classes(verb: &'static str) -> Self {
        Self { verb, resource: CLASSES, scope: Scope::Cluster, name: String::new() }
    }

    /// To another resource.
    pub fn to(verb: &'static str, resource: &'static str, namespace: &str) -> Self {
        Self { verb, resource, scope: Scope::Namespace(namespace.to_owned()), name: String::new() }
    }

    /// To one object.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    fn place(&self) -> String {
        match &self.scope {
            Scope::Cluster => "on this cluster".to_owned(),
            Scope::AllNamespaces => "in all namespaces".to_owned(),
            Scope::Namespace(namespace) => format!("in namespace `{namespace}`"),
        }
    }
}

/// Whether a 404 is about the object that was asked for, and not about its kind or its namespace.
pub fn is_absent_object(status: &Status) -> bool {
    status.is_not_found()
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.kind == "workspaces" && !details.name.is_empty())
}

/// Says why a request failed.
pub fn explain(error: kube::Error, access: &Access, server: &str) -> Error {
    match error {
        kube::Error::Api(status) => refused(&status, access, server),
        kube::Error::Auth(error) => {
            Error::user(format!("the kubeconfig gives no credentials: {}", chain(&error)))
                .hinted("log in to the cluster again; `kubectl version` shows the same error")
        }
        error => unreachable(&error, server),
    }
}

fn refused(status: &Status, access: &Access, server: &str) -> Error {
    match status.code {
        401 => Error::user(format!("{server} does not accept your credentials"))
            .hinted("log in to the cluster again; `kubectl version` shows the same error"),
        403 => forbidden(status, access),
        404 => missing(status, access),
        409 if status.is_already_exists() => {
            Error::name_taken(format!("there is already a workspace `{}` {}", access.name, access.place()))
                .hinted(format!("choose another name, or end that one with `ws down {}`", access.name))
        }
        422 => invalid(status),
        429 | 500..=599 => Error::unreachable(format!(
            "{server} cannot serve `{}` right now: {}",
            access.verb, status.message
        ))
        .hinted("try again in a moment"),
        _ => Error::user(format!(
            "{server} refused to {} {}: {}",
            access.verb, access.resource, status.message
        )),
    }
}

fn forbidden(status: &Status, access: &Access) -> Error {
    // RBAC's own sentence (k8s.io/apiserver, authorization) is the only 403 with these words; the others come from
    // admission and say themselves what is the matter.
    if status.message.contains(" cannot ") || status.message.is_empty() {
        let Access { verb, resource, .. } = access;
        return Error::user(format!("you may not {verb} {resource} {}", access.place())).hinted(format!(
            "ask whoever runs the cluster for the verb `{verb}` on `{resource}`, or choose another namespace with -n"
        ));
    }
    let hint = if status.message.contains("exceeded quota") {
        "end a workspace that is no longer needed: `ws ls`, `ws down NAME`"
    } else {
        "ask whoever runs the cluster: one of its admission rules says so"
    };
    Error::user(format!("the cluster did not accept the workspace: {}", status.message)).hinted(hint)
}

fn missing(status: &Status, access: &Access) -> Error {
    match status.details.as_ref() {
        Some(details) if details.kind == "namespaces" => {
            Error::user(format!("there is no namespace `{}`", details.name))
                .hinted("choose one with -n, or create it with `kubectl create namespace`")
        }
        Some(details) if details.kind == "workspaceclasses" && !details.name.is_empty() => {
            Error::user(format!("there is no class `{}`", details.name))
                .hinted("`kubectl get workspaceclasses` lists the classes")
        }
        Some(details) if !details.name.is_empty() => {
            Error::user(format!("there is no {} `{}` {}", access.resource, details.name, access.place()))
        }
        _ => Error::user("ws is not installed on this cluster: it has no workspaces.ws.dev")
            .hinted("install it with `helm install ws`, or choose another cluster with --context"),
    }
}

fn invalid(status: &Status) -> Error {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes: Vec<String> = causes
        .map(|cause| match rule(&cause.message) {
            rule if cause.field.is_empty() => rule.to_owned(),
            rule => format!("{}: {rule}", cause.field),
        })
        .collect();
    let why = if causes.is_empty() { status.message.clone() } else { causes.join("; ") };
    Error::user(format!("the cluster did not accept the workspace: {why}"))
        .hinted("`ws up --help` says what may be set")
}

/// What a field breaks, without the value, which the server repeats in full before it.
fn rule(message: &str) -> &str {
    match message.strip_prefix("Invalid value: ").and_then(|rest| rest.rsplit_once("\": ")) {
        Some((_, rule)) => rule,
        None => message,
    }
}

fn unreachable(error: &kube::Error, server: &str) -> Error {
    let why = ["ServiceError: ", "HyperError: ", "client error (Connect): "]
        .iter()
        .fold(chain(error), |why, noise| why.replace(noise, ""));
    Error::unreachable(format!("{server} cannot be reached: {why}"))
        .hinted("check the network or VPN, and the cluster's address with `kubectl cluster-info`")
}

/// Why a workspace failed, if it did.
pub fn failure(workspace: &Workspace) -> Option<Error> {
    let status = workspace.status.as_ref()?;
    if status.phase != Some(Phase::Failed) {
        return None;
    }
    let name = workspace.metadata.name.clone().unwrap_or_default();
    let reason = reason(workspace).unwrap_or_default();
    let message = status.message.clone().unwrap_or_else(|| "the operator gave no reason".to_owned());
    let message = message.trim_end_matches('.');
    let error = match reason {
        "" => Error::user(format!("workspace `{name}` failed: {message}")),
        reason => Error::user(format!("workspace `{name}` failed ({reason}): {message}")),
    };
    Some(match hint(reason) {
        Some(hint) => error.hinted(hint),
        None => error.hinted(format!(
            "`ws describe {name}` and `kubectl describe pod {name}` tell more while it is there"
        )),
    })
}

/// The stable reason behind the workspace's state, by the operator.
fn reason(workspace: &Workspace) -> Option<&str> {
    let conditions = &workspace.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == condition::READY)?;
    Some(ready.reason.as_str())
}

/// What the user can do here about a reason; the operator's message says what an admin can.
fn hint(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NoDefaultClass" => "name a class with --class; `kubectl get workspaceclasses` lists them",
        "ClassNotFound" => "`kubectl get workspaceclasses` lists the classes",
        "ImageNotAllowed" => "leave --image out, or ask for the image to be allowed by the class",
        "UnknownEgressRule" => "`kubectl describe workspaceclass` lists the class's egress rules",
        "LifetimeTooLong" => "ask for a shorter --lifetime, or leave it out",
        "NameTaken" | "InvalidName" => "choose another --name",
        "QuotaExceeded" => "end a workspace that is no longer needed: `ws ls`, `ws down NAME`",
        "ImagePullBackOff" | "InvalidImage" | "InvalidImageName" | "ErrImageNeverPull" => {
            "check the image's name, and whether the nodes may pull it"
        }
        "AdmissionDenied" => "ask whoever runs the cluster: one of its admission rules refuses the pod",
        "EgressNotEnforced" => {
            "nothing of the project was sent; the cluster needs a network plugin that enforces NetworkPolicy"
        }
        "GatewayUnreachable" => "have the pods of ws-gateway checked by whoever runs the cluster",
        "OutOfMemory" => "use a class with more memory",
        _ => return None,
    })
}

/// What a workspace that is not ready yet is doing.
pub fn progress(workspace: &Workspace) -> String {
    let status = workspace.status.as_ref();
    let doing = match status.and_then(|status| status.phase) {
        None => "waiting for the operator",
        Some(Phase::Pending) => "waiting for a pod",
        Some(Phase::Starting) => "starting",
        Some(Phase::Ready) => "connecting",
        Some(Phase::Destroying) => "ending",
        Some(Phase::Failed) => "failed",
    };
    match status.and_then(|status| status.message.as_deref()) {
        Some(message)
            if !message.is_empty() && status.and_then(|status| status.phase) != Some(Phase::Ready) =>
        {
            format!("{doing}: {message}")
        }
        _ => doing.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: serde_json::Value) -> Box<Status> {
        Box::new(serde_json::from_value(json).unwrap())
    }

    fn text(json: serde_json::Value) -> String {
        let access = Access::new("create", "team").of("fix");
        let error = explain(kube::Error::Api(status(json)), &access, "https://k:6443");
        format!("{}\n{}", error.message, error.hint.unwrap_or_default())
    }

    #[test]
    fn refusals_of_the_api_server_say_what_to_do() {
        let cases = serde_json::json!([
            {"code": 401, "reason": "Unauthorized", "message": "Unauthorized"},
            {"code": 403, "reason": "Forbidden", "message": "workspaces.ws.dev is forbidden: User \"eve\" cannot create resource \"workspaces\" in API group \"ws.dev\" in the namespace \"team\""},
            {"code": 403, "reason": "Forbidden", "message": "workspaces.ws.dev \"fix\" is forbidden: exceeded quota: few, requested: count/workspaces.ws.dev=1, used: count/workspaces.ws.dev=2, limited: count/workspaces.ws.dev=2"},
            {"code": 404, "message": "404 page not found", "reason": "Failed to parse error data"},
            {"code": 404, "reason": "NotFound", "message": "the server could not find the requested resource", "details": {}},
            {"code": 404, "reason": "NotFound", "message": "namespaces \"team\" not found", "details": {"name": "team", "kind": "namespaces"}},
            {"code": 409, "reason": "AlreadyExists", "message": "workspaces.ws.dev \"fix\" already exists", "details": {"name": "fix", "kind": "workspaces"}},
            {"code": 422, "reason": "Invalid", "message": "Workspace.ws.dev \"fix\" is invalid: …", "details": {"causes": [
                {"reason": "FieldValueInvalid", "message": "Invalid value: \"1s\": a lifetime is at least 1m", "field": "spec.lifetime"}
            ]}},
            {"code": 503, "reason": "ServiceUnavailable", "message": "etcdserver: request timed out"},
        ]);
        let texts: Vec<_> = cases.as_array().unwrap().iter().cloned().map(text).collect();
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    #[test]
    fn a_failed_workspace_says_why_and_what_to_do() {
        let workspace: Workspace = serde_json::from_value(serde_json::json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "fix"},
            "spec": {"sshPublicKeys": []},
            "status": {
                "phase": "Failed",
                "message": "The cluster let the pod reach tcp/10.96.0.1:443.",
                "conditions": [{"type": "Ready", "status": "False", "reason": "EgressNotEnforced", "message": "",
                    "lastTransitionTime": "2026-11-20T00:00:00Z"}]
            }
        }))
        .unwrap();
        assert_eq!(
            failure(&workspace),
            Some(
                Error::user("workspace `fix` failed (EgressNotEnforced): The cluster let the pod reach tcp/10.96.0.1:443")
                    .hinted("nothing of the project was sent; the cluster needs a network plugin that enforces NetworkPolicy")
            )
        );
    }
}
