//! The installation's certificate authority: inside workspaces, and nowhere else, it vouches for the hosts that rules name.
//!
//! Its key is the gateway's alone. It signs leaves and no further authorities (RFC 5280, section 4.2.1.9), and no address.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use k8s_openapi::jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use secrecy::{ExposeSecret as _, SecretString};
use ws_policy::host::Host;

mod secret;

use crate::session::lock;

/// The subject of every such authority, so that its certificate need not be parsed to sign in its name.
const NAME: &str = "ws gateway";
const AUTHORITY_DAYS: i64 = 3_650;
const LEAF_DAYS: i64 = 7;
/// Clocks differ.
const BEFORE_DAYS: i64 = 1;
/// Hosts whose leaves are kept. A class names at most 2,048; past this many all are made anew, which takes 0.1 ms each.
const KEPT: usize = 4_096;

/// The authority, and the certificates that it made.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    /// Of all leaves of this process.
    leaf_key: KeyPair,
    servers: Mutex<HashMap<Host, Served>>,
    provider: Arc<CryptoProvider>,
}

struct Served {
    config: Arc<ServerConfig>,
    made_on: Date,
}

/// A certificate and its key, both as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: SecretString,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the certificate or its key cannot be made or read")]
    Certificate(#[from] rcgen::Error),
    #[error("the certificate cannot be served")]
    Tls(#[from] rustls::Error),
}

impl Pair {
    /// A new authority.
    pub fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = authority(today())?.self_signed(&key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem().into() })
    }
}

impl Authority {
    /// Takes up an authority that [`Pair::generate`] made.
    pub fn open(pair: Pair) -> Result<Self, AuthorityError> {
        Ok(Self {
            issuer: Issuer::new(authority(today())?, KeyPair::from_pem(pair.key.expose_secret())?),
            certificate: pair.certificate,
            leaf_key: KeyPair::generate()?,
            servers: Mutex::default(),
            provider: Arc::new(default_provider()),
        })
    }

    /// The authority's own certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What a server that stands for `host` shows its clients.
    pub fn server(&self, host: &Host) -> Result<Arc<ServerConfig>, AuthorityError> {
        let today = today();
        let mut servers = lock(&self.servers);
        // Half of its life is left for those that have it open.
        let is_fresh = |served: &&Served| {
            served.made_on.until(today).is_ok_and(|age| i64::from(age.get_days()) <= LEAF_DAYS / 2)
        };
        if let Some(served) = servers.get(host).filter(is_fresh) {
            return Ok(served.config.clone());
        }
        if servers.len() >= KEPT {
            servers.clear();
        }
        let config = Arc::new(self.config(host, today)?);
        servers.insert(host.clone(), Served { config: config.clone(), made_on: today });
        Ok(config)
    }

    fn config(&self, host: &Host, today: Date) -> Result<ServerConfig, AuthorityError> {
        let mut params = CertificateParams::default();
        valid(&mut params, today, LEAF_DAYS);
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::DnsName(host.as_str().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf: CertificateDer<'static> = params.signed_by(&self.leaf_key, &self.issuer)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn authority(today: Date) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::new())?;
    valid(&mut params, today, AUTHORITY_DAYS);
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // No address at all: rules name hosts.
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    Ok(params)
}

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn valid(params: &mut CertificateParams, today: Date, days: i64) {
    let day = |days: i64| {
        let date = today.saturating_add(days.days());
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-BEFORE_DAYS), day(days));
}
