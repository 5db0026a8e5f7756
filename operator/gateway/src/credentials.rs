//! The credentials that rules name: Secrets in ws' own namespace, which nobody but the gateway reads.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::HeaderValue;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync, time::timeout};
use tracing::warn;
use ws_policy::class::Credential;

use crate::{body::Spellings, session::lock};

/// How long a value is used before it is read again, so that one which was changed soon holds.
const FRESH: Duration = Duration::from_secs(10);
/// How long it is taken for granted that there is none.
const MISSING: Duration = Duration::from_secs(1);
/// How long a value may be used that cannot be read again.
const USABLE: Duration = Duration::from_mins(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads credentials. Clones share what was read.
#[derive(Clone)]
pub struct Credentials {
    secrets: Api<Secret>,
    /// Each is read by one request at a time, for all that wait for it.
    read: Arc<Mutex<HashMap<Place, Arc<sync::Mutex<Read>>>>>,
}

/// Name of a Secret, and a key in it.
type Place = (String, String);

/// What was read last, and when it was tried last.
#[derive(Default)]
struct Read {
    secret: Option<(Arc<Value>, Instant)>,
    tried: Option<Instant>,
}

/// A credential's value.
pub struct Value {
    pub text: SecretString,
    /// How it would look if it came back.
    pub spellings: Arc<Spellings>,
}

/// There is no such credential, or it is no text that a header can carry.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the credential cannot be read")]
pub struct Unreadable;

impl Credentials {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { secrets: Api::namespaced(client, namespace), read: Arc::default() }
    }

    /// The value of a credential.
    pub async fn get(&self, credential: &Credential) -> Result<Arc<Value>, Unreadable> {
        let place = (credential.secret_name.clone(), credential.key.clone());
        let read = lock(&self.read).entry(place.clone()).or_default().clone();
        let mut read = read.lock().await;
        if !read.is_fresh() {
            match Box::pin(self.fetch(&place)).await {
                Ok(text) => read.secret = text.map(|text| (Arc::new(Value::of(text)), Instant::now())),
                Err(error) => warn!(secret = place.0, error, "cannot read a credential"),
            }
            read.tried = Some(Instant::now());
        }
        let usable = read.secret.as_ref().filter(|(_, at)| at.elapsed() < USABLE);
        usable.map(|(secret, _)| secret.clone()).ok_or(Unreadable)
    }

    /// None if there is no such Secret or key. An error says nothing about the Secret.
    async fn fetch(&self, (name, key): &Place) -> Result<Option<SecretString>, String> {
        let secret =
            timeout(PATIENCE, self.secrets.get_opt(name)).await.map_err(|_| "no answer".to_owned())?;
        let secret = secret.map_err(|error| error.to_string())?;
        let value =
            secret.and_then(|secret| secret.data?.remove(key)).and_then(|ByteString(value)| text(value));
        Ok(value)
    }
}

impl Read {
    fn is_fresh(&self) -> bool {
        let known = self.secret.as_ref().is_some_and(|(_, at)| at.elapsed() < FRESH);
        known || self.tried.is_some_and(|tried| tried.elapsed() < MISSING)
    }
}

impl Value {
    fn of(text: SecretString) -> Self {
        let spellings = Arc::new(Spellings::of(text.expose_secret()));
        Self { text, spellings }
    }
}

/// A credential as it is put into a header.
pub fn header(credential: &Credential, value: &Value) -> Result<HeaderValue, Unreadable> {
    let mut header = HeaderValue::try_from(format!("{}{}", credential.prefix, value.text.expose_secret()))
        .map_err(|_| Unreadable)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Without the line break that editors and `echo` put at the end.
fn text(value: Vec<u8>) -> Option<SecretString> {
    let text = String::from_utf8(value).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| SecretString::from(text))
}
