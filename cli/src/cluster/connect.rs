//! From the kubeconfig to a client.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::Cluster;
use crate::error::{Error, chain};

/// How long a connection to the API server may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Which cluster, and which namespace in it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub namespace: Option<String>,
}

impl Cluster {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let mut config = config(options).await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        if let Some(namespace) = &options.namespace {
            config.default_namespace.clone_from(namespace);
        }
        if !is_namespace(&config.default_namespace) {
            let message = format!("`{}` cannot be the name of a namespace", config.default_namespace);
            return Err(
                Error::user(message).hinted("choose another with -n; `kubectl get namespaces` lists them")
            );
        }
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = config.default_namespace.clone();
        let client = ws_connect::client(config).map_err(|error| unusable(&chain(&error)))?;
        Ok(Self { client, namespace, server })
    }
}

async fn config(options: &Options) -> Result<Config, Error> {
    let kubeconfig = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match kubeconfig {
        Ok(kubeconfig) => kubeconfig,
        // A pod of the cluster itself, as in CI, has no kubeconfig but a service account.
        Err(error) if options.kubeconfig.is_none() && options.context.is_none() && is_absent(&error) => {
            return Config::incluster().map_err(|_| explain(error, options));
        }
        Err(error) => return Err(explain(error, options)),
    };
    let contexts: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let selection = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &selection).await.map_err(|error| match error {
        KubeconfigError::LoadContext(_) | KubeconfigError::CurrentContextNotSet => {
            no_context(options, &contexts)
        }
        error => explain(error, options),
    })
}

/// Whether it is a label (RFC 1123), as Kubernetes wants the names of namespaces.
fn is_namespace(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn explain(error: KubeconfigError, options: &Options) -> Error {
    if is_absent(&error) {
        let message = match (&options.kubeconfig, error) {
            (Some(path), _) => not_found(path),
            (None, KubeconfigError::ReadConfig(_, path)) => not_found(&path),
            (None, _) => "no kubeconfig found".to_owned(),
        };
        return Error::user(message)
            .hinted("name one with --kubeconfig or KUBECONFIG; whoever runs the cluster has it");
    }
    unusable(&chain(&error))
}

fn not_found(kubeconfig: &Path) -> String {
    format!("kubeconfig `{}` not found", kubeconfig.display())
}

fn no_context(options: &Options, contexts: &[String]) -> Error {
    let message = match &options.context {
        Some(context) => format!("the kubeconfig has no context `{context}`"),
        None => "the kubeconfig names no current context".to_owned(),
    };
    let hint = match contexts {
        [] => "it has no contexts at all; check that it is the right file".to_owned(),
        contexts => format!("choose one with --context: {}", contexts.join(", ")),
    };
    Error::user(message).hinted(hint)
}

fn unusable(why: &str) -> Error {
    Error::user(format!("the kubeconfig cannot be used: {why}"))
        .hinted("check it with `kubectl config view` and `kubectl version`")
}
