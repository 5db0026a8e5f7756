//! What lets a user into a workspace, and only there.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use secrecy::ExposeSecret as _;
use ws_api::{agent::HOST_KEY_SECRET_KEY, workspace::Workspace};

use super::owned;
use crate::{user_ca::HostKey, validate::Validated};

/// The Secret with the workspace's host key.
///
/// Its name holds the workspace's UID, so one that already exists is this workspace's own: the operator needs no permission to
/// read or to change Secrets. Immutable, so that kubelets need not watch it.
pub fn host_key_secret(workspace: &Validated, host_key: &HostKey) -> Secret {
    let name = Workspace::host_key_secret(workspace.name.as_ref(), &workspace.uid);
    let key = ByteString(host_key.private.expose_secret().as_bytes().to_vec());
    Secret {
        metadata: owned(workspace, name),
        data: Some([(HOST_KEY_SECRET_KEY.to_owned(), key)].into()),
        immutable: Some(true),
        ..Secret::default()
    }
}
