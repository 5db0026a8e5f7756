//! A proxy in front of the API server that counts writes and, after a given one, kills the program that made them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};

use crate::lab::Lab;

/// Listens on loopback without TLS; the credentials are the lab's admin's. Ends when it is dropped.
pub struct ApiProxy {
    address: SocketAddr,
    writes: Arc<Writes>,
    accept: AbortHandle,
}

struct Writes {
    count: AtomicUsize,
    /// Becomes true when the fatal write has been answered by the API server, and before its author hears of it.
    fatal: watch::Sender<bool>,
    fatal_after: usize,
}

impl ApiProxy {
    /// `fatal_after` counts writes from 1; 0 is never.
    pub async fn start(lab: &Lab, fatal_after: usize) -> Result<Self> {
        let client = lab.client().await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let writes =
            Arc::new(Writes { count: AtomicUsize::new(0), fatal: watch::Sender::new(false), fatal_after });
        let accept = tokio::spawn(serve(listener, client, writes.clone())).abort_handle();
        Ok(Self { address, writes, accept })
    }

    /// A kubeconfig that leads here, written into `folder`.
    pub fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("proxy.kubeconfig");
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    pub fn writes(&self) -> usize {
        self.writes.count.load(Ordering::SeqCst)
    }

    /// Returns when the fatal write has been done.
    pub async fn fatal_write(&self) -> Result<()> {
        self.writes.fatal.subscribe().wait_for(|done| *done).await.map(drop).context("the proxy ended")
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(listener: TcpListener, client: Client, writes: Arc<Writes>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (client, writes) = (client.clone(), writes.clone());
        let service = service_fn(move |request| forward(client.clone(), writes.clone(), request));
        // A connection that breaks is the business of its client, which may have been killed.
        tokio::spawn(async move {
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok()
        });
    }
}

async fn forward(client: Client, writes: Arc<Writes>, request: Request<Incoming>) -> Result<Response<Body>> {
    let writes_something =
        ![Method::GET, Method::HEAD].contains(request.method()) && !is_a_review(request.uri().path());
    let number = if writes_something { writes.count.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
    if *writes.fatal.borrow() {
        // Whoever made the fatal write is dead from then on, even where its process still is not.
        std::future::pending::<()>().await;
    }
    let (mut head, body) = request.into_parts();
    head.headers.remove("host");
    let body = body.collect().await?.to_bytes().to_vec();
    let response = client.send(Request::from_parts(head, Body::from(body))).await?;
    if number != 0 && number == writes.fatal_after {
        writes.fatal.send_replace(true);
        std::future::pending::<()>().await;
    }
    Ok(response)
}

/// Questions that are asked with POST.
fn is_a_review(path: &str) -> bool {
    path.contains("/selfsubjectaccessreviews") || path.contains("/leases")
}
