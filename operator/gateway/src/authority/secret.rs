//! Where the authority is kept between the gateway's lives, and shared by its replicas.

use anyhow::Context as _;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::PostParams};
use tracing::info;

use super::{Authority, Pair};

/// Name of the Secret in ws' namespace. The chart makes it, empty, so that the gateway may write no other one.
pub const SECRET: &str = "ws-gateway-ca";
/// As in Secrets of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

impl Authority {
    /// Reads the authority from its Secret; makes one if that is empty.
    pub async fn load_or_create(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        let read =
            async || secrets.get(SECRET).await.with_context(|| format!("could not read Secret `{SECRET}`"));
        let secret = read().await?;
        if let Some(pair) = pair(&secret) {
            return Ok(Self::open(pair)?);
        }
        let new = filled(secret, &Pair::generate()?);
        match secrets.replace(SECRET, &PostParams::default(), &new).await {
            Ok(secret) => {
                info!(secret = SECRET, "made the authority for what workspaces see of the hosts outside");
                Ok(Self::open(pair(&secret).context("the new authority is not in its Secret")?)?)
            }
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                Ok(Self::open(pair(&read().await?).context("the Secret of the authority stays empty")?)?)
            }
            Err(error) => Err(error).with_context(|| format!("could not write Secret `{SECRET}`")),
        }
    }
}

fn pair(secret: &Secret) -> Option<Pair> {
    let text = |key| {
        let ByteString(value) = secret.data.as_ref()?.get(key)?;
        String::from_utf8(value.clone()).ok().filter(|text| !text.is_empty())
    };
    Some(Pair { certificate: text(CERTIFICATE)?, key: text(KEY)?.into() })
}

/// The Secret with the authority; the version it was read at stays, so that of two writers one is refused.
fn filled(mut secret: Secret, pair: &Pair) -> Secret {
    use secrecy::ExposeSecret as _;
    let data = secret.data.get_or_insert_default();
    data.insert(CERTIFICATE.to_owned(), ByteString(pair.certificate.clone().into_bytes()));
    data.insert(KEY.to_owned(), ByteString(pair.key.expose_secret().as_bytes().to_vec()));
    secret
}
