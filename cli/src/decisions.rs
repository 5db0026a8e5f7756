//! What the gateway decided on a workspace, in its own words: TLS to the gateway, by the authority that the cluster names, through a
//! workspace that is not trusted.

mod lines;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use ws_api::{
    gateway::{DECISIONS_PATH, Decided, OWN_HOST, OWN_PORT},
    workspace::Workspace,
};

use self::lines::{Lines, Unreadable, line};
use crate::{
    error::{Error, chain},
    ssh::Connection,
    ui::Ui,
    units,
};

/// How long the gateway may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows the last decisions, and with `follow` those that come.
pub async fn show(
    connection: &Connection,
    workspace: &Workspace,
    follow: bool,
    ui: &Ui,
) -> Result<(), Error> {
    let mut answer = timeout(PATIENCE, ask(connection, authority(workspace)?, follow))
        .await
        .map_err(|_| Error::lost("the gateway does not answer"))??;
    ui.clear();
    let mut lines = Lines::default();
    let mut seen = 0;
    while let Some(frame) = answer.frame().await {
        let frame = frame.map_err(|error| Error::lost(&chain(&error)))?;
        let Ok(data) = frame.into_data() else { continue };
        for decided in lines.push(&data)? {
            print(&decided, seen, ui)?;
            seen = decided.seq;
        }
    }
    // What is followed has no end of its own.
    if follow { Err(Error::lost("the gateway ended its answer")) } else { Ok(()) }
}

/// Prints a decision. `seen` is the number of the one before.
fn print(decided: &Decided, seen: u64, ui: &Ui) -> Result<(), Error> {
    if ui.json() {
        return ui.json_result(decided);
    }
    if let Some(gap) = gap(seen, decided.seq) {
        ui.note(&gap);
    }
    ui.lines(|print| print(&line(decided)))
}

/// What is to be said of decisions between two that the gateway had: they are numbered from one on.
fn gap(seen: u64, seq: u64) -> Option<String> {
    let missed = seq.saturating_sub(seen).checked_sub(1).filter(|missed| *missed > 0)?;
    let what = units::count(missed, "decision is", "decisions are");
    Some(format!(
        "… {what} not kept; the gateway's audit log has {}",
        if missed == 1 { "it" } else { "them" }
    ))
}

/// The authority that the gateway of a workspace wrote into its status.
fn authority(workspace: &Workspace) -> Result<RootCertStore, Error> {
    let none = || {
        Error::user("the workspace's status does not say how to know its gateway")
            .hinted("wait a moment; if it stays so, ask your admin which version of ws the cluster has")
    };
    let status = workspace.status.as_ref().and_then(|status| status.egress.as_ref());
    let pem = status.and_then(|egress| egress.authority.as_ref()).ok_or_else(none)?;
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| none())?;
    roots.add(certificate).map_err(|_| none())?;
    Ok(roots)
}

async fn ask(connection: &Connection, roots: RootCertStore, follow: bool) -> Result<Incoming, Error> {
    let channel = connection.forward(OWN_HOST, OWN_PORT).await?.into_stream();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(OWN_HOST).map_err(|error| Error::internal(error.to_string()))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, channel).await.map_err(|error| {
        Error::impostor(format!("what answered is not the gateway: {error}"))
            .hinted("the workspace may have changed what it passes on; your admin has the gateway's own log")
    })?;
    let (mut sender, driver) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| Error::lost(&chain(&error)))?;
    tokio::spawn(driver);
    let query = if follow { "?follow" } else { "" };
    let request = Request::get(format!("{DECISIONS_PATH}{query}"))
        .header(header::HOST, OWN_HOST)
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::internal(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| Error::lost(&chain(&error)))?;
    if answer.status().is_success() {
        Ok(answer.into_body())
    } else {
        Err(Error::user(format!("the gateway answered {}", answer.status()))
            .hinted("it may be of another version of ws than this command"))
    }
}

impl From<Unreadable> for Error {
    fn from(_: Unreadable) -> Self {
        Self::user("the gateway's answer cannot be read")
            .hinted("it may be of another version of ws than this command")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_that_are_not_kept_are_counted() {
        assert_eq!(gap(0, 1), None);
        assert_eq!(gap(7, 8), None);
        assert_eq!(gap(0, 13).unwrap(), "… 12 decisions are not kept; the gateway's audit log has them");
        assert_eq!(gap(7, 9).unwrap(), "… 1 decision is not kept; the gateway's audit log has it");
        // What a gateway would not say.
        assert_eq!((gap(9, 9), gap(9, 2), gap(0, 0)), (None, None, None));
        assert!(gap(0, u64::MAX).is_some());
    }
}
