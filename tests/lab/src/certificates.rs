//! The cluster's certificate authorities, its serving and client certificates, all made anew for each lab.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::{hosts, network};

/// The name of the only node.
pub const NODE_NAME: &str = "node0";

/// The folder of all keys and certificates, with the names that components' flags use.
#[derive(Debug, Clone)]
pub struct Pki {
    folder: PathBuf,
}

/// Who a client is to Kubernetes: user and groups.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Also the name of its files and its kubeconfig.
    pub name: &'static str,
    user: &'static str,
    group: Option<&'static str>,
}

/// Everybody who talks to the API server with a kubeconfig.
pub const CLIENTS: [Client; 6] = [
    Client { name: "admin", user: "admin", group: Some("system:masters") },
    Client { name: "kubelet", user: "system:node:node0", group: Some("system:nodes") },
    Client { name: "kube-controller-manager", user: "system:kube-controller-manager", group: None },
    Client { name: "kube-scheduler", user: "system:kube-scheduler", group: None },
    Client { name: "kube-proxy", user: "system:kube-proxy", group: None },
    Client { name: "enforcer", user: "lab:enforcer", group: None },
];

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Pki {
    /// What an earlier [`Pki::create`] made in `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Makes every key and certificate in `folder`, which only root can enter.
    pub fn create(folder: &Path) -> Result<Self> {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        created.with_context(|| format!("creating {}", folder.display()))?;
        let pki = Self::at(folder);
        pki.cluster()?;
        pki.front_proxy()?;
        pki.etcd()?;
        pki.hosts()?;
        let signer = KeyPair::generate()?;
        pki.write("service-accounts.key", &signer.serialize_pem())?;
        pki.write("service-accounts.pub", &signer.public_key_pem())?;
        Ok(pki)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file, such as `ca.crt`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn cluster(&self) -> Result<()> {
        let ca = self.authority("ca")?;
        let own = [network::NODE_ADDRESS.into(), IpAddr::from([127, 0, 0, 1]), network::API_SERVICE.into()];
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        self.server("kube-apiserver", &ca, &own, &names)?;
        self.server("kubelet-server", &ca, &[network::NODE_ADDRESS.into()], &[NODE_NAME])?;
        self.client("apiserver-kubelet-client", &ca, "apiserver-kubelet-client", Some("system:masters"))?;
        CLIENTS.iter().try_for_each(|client| self.client(client.name, &ca, client.user, client.group))
    }

    fn front_proxy(&self) -> Result<()> {
        let ca = self.authority("front-proxy-ca")?;
        self.client("front-proxy-client", &ca, "front-proxy-client", None)
    }

    fn etcd(&self) -> Result<()> {
        let ca = self.authority("etcd-ca")?;
        self.server("etcd", &ca, &[IpAddr::from([127, 0, 0, 1])], &["localhost"])?;
        self.client("etcd-client", &ca, "kube-apiserver", None)
    }

    /// Of the internet's real servers. What trusts them is told so: nobody else does.
    fn hosts(&self) -> Result<()> {
        let ca = self.authority(hosts::AUTHORITY)?;
        self.server(hosts::CERTIFICATE, &ca, &[], &hosts::names())?;
        self.unproven_hosts(&ca)
    }

    /// Of hosts whom nobody is to believe, each for a reason of its own. `ca` vouches for the internet's others.
    fn unproven_hosts(&self, ca: &Authority) -> Result<()> {
        self.server(hosts::MISNAMED, ca, &[], &["docs.example"])?;
        let stranger = self.authority("hosts-unknown-ca")?;
        self.server(hosts::UNVOUCHED, &stranger, &[], &[hosts::UNVOUCHED])?;
        let mut expired = of_server(hosts::EXPIRED, &[], &[hosts::EXPIRED])?;
        expired.not_after = date_time_ymd(2025, 1, 1);
        self.issue(hosts::EXPIRED, ca, expired, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn authority(&self, name: &str) -> Result<Authority> {
        let mut params = subject(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        self.write(&format!("{name}.crt"), &authority.pem())?;
        self.write(&format!("{name}.key"), &authority.key().serialize_pem())?;
        Ok(authority)
    }

    fn server(&self, name: &str, ca: &Authority, addresses: &[IpAddr], names: &[&str]) -> Result<()> {
        // etcd presents the certificate it serves with to itself, as a client.
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, ca, of_server(name, addresses, names)?, &usages)
    }

    fn client(&self, name: &str, ca: &Authority, user: &str, group: Option<&str>) -> Result<()> {
        self.issue(name, ca, subject(user, group), &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(
        &self,
        name: &str,
        ca: &Authority,
        mut params: CertificateParams,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Result<()> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, ca)?;
        self.write(&format!("{name}.crt"), &certificate.pem())?;
        self.write(&format!("{name}.key"), &key.serialize_pem())
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        write_secret(&self.path(name), content)
    }
}

/// Writes a file that only its owner can read.
pub fn write_secret(path: &Path, content: &str) -> Result<()> {
    let file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, content.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

fn of_server(name: &str, addresses: &[IpAddr], names: &[&str]) -> Result<CertificateParams> {
    let mut params = subject(name, None);
    params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
    for &name in names {
        params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    Ok(params)
}

/// Kubernetes takes the common name for the user and the organization for the group.
fn subject(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki")).unwrap();
        for entry in fs::read_dir(folder.path().join("pki")).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        for client in CLIENTS {
            assert!(
                fs::read(pki.path(&format!("{}.crt", client.name)))
                    .unwrap()
                    .starts_with(b"-----BEGIN CERTIFICATE")
            );
        }
    }

    #[test]
    fn the_kubelet_is_named_after_its_node() {
        assert!(CLIENTS.iter().any(|client| client.user == format!("system:node:{NODE_NAME}")));
    }
}
