//! Makes everything that a workspace needs.

use std::{sync::Arc, time::SystemTime};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{Api, ResourceExt as _, api::ListParams, runtime::controller::Action};
use ws_api::{
    class::WorkspaceClass,
    workspace::{Ssh, Workspace},
};

use super::{Context, RETRY_AFTER, at_expiry, fail, finish, live_pod, owns, report};
use crate::{
    apply::{self, Created},
    build::{self, Surroundings},
    error::Error,
    policy::Scope,
    reason::{Cause, Fate, Reason},
    status::{self, Made},
    text::printable,
    user_ca::HostKey,
    validate::{Invalid, Validated, class_of, validate},
};

/// Checks the workspace and makes its objects, the policy before the pod. What was made before is found and kept.
pub async fn create(workspace: &Workspace, ctx: &Context, now: Timestamp) -> Result<Action, Error> {
    let validated = match checked(workspace, ctx).await? {
        Ok(validated) => validated,
        Err(invalid) => return fail(workspace, &invalid.into(), ctx, now).await,
    };
    if validated.expires_at <= now {
        // Its time went by while no operator was there.
        return finish(workspace, ctx).await;
    }
    let host_key = ctx.user_ca.host_key(&validated.uid)?;
    match make(workspace, &validated, &host_key, ctx).await {
        Ok(Ok(pod)) => {
            let made = made(&validated, &pod, host_key, ctx)?;
            report(workspace, &status::starting(workspace, made, now), ctx).await?;
            Ok(Action::await_change())
        }
        Ok(Err(cause)) => match cause.reason.fate() {
            Fate::Fails => fail(workspace, &cause, ctx, now).await,
            Fate::Waits | Fate::Serves | Fate::Ends => wait(workspace, &validated, &cause, ctx, now).await,
        },
        // Somebody waits for the pod: the status says what the log will.
        Err(error) => {
            let message = format!("{error} ({}); the operator tries again", printable(&error.answer()));
            wait(workspace, &validated, &Cause::new(Reason::NotMade, message), ctx, now).await?;
            Err(error)
        }
    }
}

/// Makes the objects and returns the pod, or says what is in the way.
async fn make(
    workspace: &Workspace,
    validated: &Validated,
    host_key: &HostKey,
    ctx: &Context,
) -> Result<Result<Pod, Cause>, Error> {
    let Some(surroundings) = surroundings(validated, ctx) else {
        let message = format!(
            "Service `{}` of ws has no address; ask an admin whether the gateway is installed",
            ws_api::gateway::NAME
        );
        return Ok(Err(Cause::new(Reason::GatewayMissing, message)));
    };
    // Destructured without `..`: a new object that is never made does not compile.
    let build::Desired { network_policy, host_key, pod } = build::desired(validated, &surroundings, host_key);
    let scope = Scope { namespace: validated.namespace.clone(), class: validated.class.clone() };
    // The policy goes first: a pod must never run without it.
    if let Err(cause) = ctx.keeper.ensure(&scope, &network_policy).await {
        return Ok(Err(cause));
    }
    match apply::create(&ctx.client, &host_key).await? {
        Created::New(_) | Created::Exists => {}
        Created::Refused(cause) => return Ok(Err(cause)),
    }
    match apply::create(&ctx.client, &pod).await? {
        Created::New(pod) => Ok(Ok(pod)),
        Created::Exists => adopt(workspace, ctx).await,
        Created::Refused(cause) => Ok(Err(cause)),
    }
}

/// The pod that has the workspace's name already: made by an operator that died before it could say so, or in the way.
async fn adopt(workspace: &Workspace, ctx: &Context) -> Result<Result<Pod, Cause>, Error> {
    let pod = live_pod(workspace, ctx).await?;
    let is_former = |pod: &Pod| {
        pod.metadata.deletion_timestamp.is_some()
            || pod.owner_references().iter().any(|owner| owner.kind == "Workspace")
    };
    Ok(match pod {
        Some(pod) if owns(workspace, &pod) => Ok(pod),
        Some(pod) if !is_former(&pod) => Err(Cause::new(
            Reason::NameTaken,
            "a pod that is not of ws has this name; create the workspace under another name",
        )),
        Some(_) | None => Err(Cause::new(
            Reason::NameInUse,
            "the pod of a former workspace of this name is still ending; this one starts after it",
        )),
    })
}

/// Validates against the class in the cache, and before it refuses, against the classes as they are: one made a moment ago may
/// not have come by yet.
async fn checked(workspace: &Workspace, ctx: &Context) -> Result<Result<Validated, Invalid>, Error> {
    let check = |classes: &[Arc<WorkspaceClass>]| {
        class_of(workspace, classes).and_then(|class| validate(workspace, &class))
    };
    if let Ok(validated) = check(&ctx.caches.classes()) {
        return Ok(Ok(validated));
    }
    let classes = Api::<WorkspaceClass>::all(ctx.client.clone());
    let classes = classes.list(&ListParams::default()).await.map_err(|source| Error::Read {
        kind: "WorkspaceClass".into(),
        name: workspace.spec.class_name.clone().unwrap_or_default(),
        source,
    })?;
    let classes: Vec<_> = classes.items.into_iter().map(Arc::new).collect();
    Ok(check(&classes))
}

fn surroundings(validated: &Validated, ctx: &Context) -> Option<Surroundings> {
    Some(Surroundings {
        installation: Arc::clone(&ctx.installation),
        gateway: ctx.caches.gateway()?,
        cluster_dns: ctx.caches.cluster_dns(),
        nodes: ctx.caches.features(validated),
    })
}

fn made(validated: &Validated, pod: &Pod, host_key: HostKey, ctx: &Context) -> Result<Made, Error> {
    let pod_uid = pod.uid().unwrap_or_default();
    let certificates = ctx.user_ca.certificates(validated, &pod_uid, SystemTime::now())?;
    Ok(Made {
        class: validated.class.to_string(),
        pod_uid,
        ssh: Ssh { host_key: host_key.public, certificates },
        expires_at: validated.expires_at,
    })
}

async fn wait(
    workspace: &Workspace,
    validated: &Validated,
    cause: &Cause,
    ctx: &Context,
    now: Timestamp,
) -> Result<Action, Error> {
    report(workspace, &status::pending(workspace, cause, validated.expires_at, now), ctx).await?;
    Ok(match cause.reason {
        // The watch of the Service tells.
        Reason::GatewayMissing => at_expiry(workspace, now),
        _ => Action::requeue(RETRY_AFTER),
    })
}
