//! The CA that signs users' certificates and from which the workspaces' host keys derive.

use std::{ops::Range, time::SystemTime};

use anyhow::{Context as _, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use russh::keys::{Algorithm, PrivateKey, ssh_key, ssh_key::LineEnding};
use secrecy::SecretString;
use tracing::info;
use ws_api::{MANAGED_BY, MANAGED_BY_LABEL, OPERATOR_FIELD_MANAGER};

use crate::validate::Validated;

/// Name of the Secret in the operator's namespace.
pub const SECRET: &str = "ws-user-ca";
const SECRET_KEY: &str = "ssh-ca-key";

/// How far clocks of the cluster may be apart.
const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_mins(5);

/// An Ed25519 key that never leaves the operator.
#[derive(Debug)]
pub struct UserCa(PrivateKey);

/// A workspace's host key, both halves in OpenSSH's format.
#[derive(Clone, Debug)]
pub struct HostKey {
    pub private: SecretString,
    pub public: String,
}

/// Why a key or certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Host(#[from] ws_ssh::host_key::NotEd25519),
    #[error(transparent)]
    Encoding(#[from] ssh_key::Error),
}

impl UserCa {
    /// Reads the CA from its Secret; makes both if there is none.
    pub async fn load_or_create(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        let read = async || {
            secrets.get_opt(SECRET).await.with_context(|| format!("could not read Secret `{SECRET}`"))
        };
        if let Some(secret) = read().await? {
            return Self::read(&secret);
        }
        let params = PostParams { field_manager: Some(OPERATOR_FIELD_MANAGER.into()), dry_run: false };
        match secrets.create(&params, &new_secret()?).await {
            Ok(secret) => {
                info!(secret = SECRET, "made the CA for users' certificates");
                Self::read(&secret)
            }
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Self::read(&read().await?.context("the Secret of the CA comes and goes")?)
            }
            Err(error) => Err(error).with_context(|| format!("could not create Secret `{SECRET}`")),
        }
    }

    fn read(secret: &Secret) -> anyhow::Result<Self> {
        let data = secret.data.as_ref().and_then(|data| data.get(SECRET_KEY));
        let ByteString(key) = data.with_context(|| format!("Secret `{SECRET}` has no key `{SECRET_KEY}`"))?;
        let key = PrivateKey::from_openssh(key).with_context(|| {
            format!("`{SECRET_KEY}` of Secret `{SECRET}` is no private key in OpenSSH's format")
        })?;
        Self::new(key)
    }

    pub fn new(key: PrivateKey) -> anyhow::Result<Self> {
        ensure!(
            key.algorithm() == Algorithm::Ed25519,
            "the CA's key is not an Ed25519 key; host keys derive from it"
        );
        Ok(Self(key))
    }

    /// The public key, as a line of OpenSSH's `authorized_keys` format.
    pub fn public(&self) -> Result<String, ssh_key::Error> {
        self.0.public_key().to_openssh()
    }

    /// The workspace's host key: the same each time it is asked for.
    pub fn host_key(&self, workspace_uid: &str) -> Result<HostKey, KeyError> {
        let key = ws_ssh::host_key::derive(&self.0, workspace_uid)?;
        let private = key.to_openssh(LineEnding::LF)?;
        Ok(HostKey { private: SecretString::from(private.as_str()), public: key.public_key().to_openssh()? })
    }

    /// A certificate for each of the workspace's keys, in their order, good for this pod until the workspace expires.
    pub fn certificates(
        &self,
        workspace: &Validated,
        pod_uid: &str,
        now: SystemTime,
    ) -> Result<Vec<String>, KeyError> {
        let key_id = format!("{}/{}", workspace.namespace, workspace.name);
        let valid = Range { start: now - CLOCK_SKEW, end: end(workspace.expires_at) };
        let issue = |key| {
            let certificate = ws_ssh::certificate::issue(&self.0, key, pod_uid, &key_id, valid.clone())?;
            Ok(certificate.to_openssh()?)
        };
        workspace.keys.iter().map(issue).collect()
    }
}

fn end(expires_at: Timestamp) -> SystemTime {
    SystemTime::from(expires_at)
}

fn new_secret() -> anyhow::Result<Secret> {
    let key =
        PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).context("could not make an Ed25519 key")?;
    let text = key.to_openssh(LineEnding::LF).context("could not write the new key")?;
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.into()),
            labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([(SECRET_KEY.to_owned(), ByteString(text.as_bytes().to_vec()))].into()),
        immutable: Some(true),
        ..Secret::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_ca_is_read_back() {
        let secret = new_secret().unwrap();
        let (one, other) = (UserCa::read(&secret).unwrap(), UserCa::read(&secret).unwrap());
        assert_eq!(one.public().unwrap(), other.public().unwrap());
        assert_eq!(one.host_key("a").unwrap().public, other.host_key("a").unwrap().public);
        assert_ne!(one.host_key("a").unwrap().public, one.host_key("b").unwrap().public);
    }

    #[test]
    fn a_secret_that_holds_no_ed25519_key_is_refused() {
        let mut empty = new_secret().unwrap();
        empty.data = None;
        assert!(UserCa::read(&empty).unwrap_err().to_string().contains("no key"));
        let mut broken = new_secret().unwrap();
        broken.data = Some([(SECRET_KEY.to_owned(), ByteString(b"key".to_vec()))].into());
        assert!(UserCa::read(&broken).unwrap_err().to_string().contains("no private key"));
    }
}
