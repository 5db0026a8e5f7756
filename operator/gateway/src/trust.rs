//! Whom the gateway trusts to be a host outside.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// The public authorities (Mozilla's list), and those of a PEM file.
pub fn outside(more: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = more {
        let problem = || format!("cannot read the certificates in {}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).with_context(problem)? {
            roots.add(certificate.with_context(problem)?).with_context(problem)?;
        }
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
