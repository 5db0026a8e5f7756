//! User certificates (OpenSSH's `PROTOCOL.certkeys`): made by the operator, checked by the agent.

use std::{
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use russh::keys::{
    Certificate, PrivateKey, PublicKey,
    ssh_key::{self, certificate},
};

const PERMIT_PTY: &str = "permit-pty";
const PERMIT_PORT_FORWARDING: &str = "permit-port-forwarding";

/// A certificate by which the holder of `key` may log in as `principal` within `valid`; it allows terminals and port
/// forwarding. `key_id` is for logs. The times count in whole seconds.
pub fn issue(
    ca: &PrivateKey,
    key: &PublicKey,
    principal: &str,
    key_id: &str,
    valid: Range<SystemTime>,
) -> Result<Certificate, ssh_key::Error> {
    let mut builder = certificate::Builder::new_with_random_nonce(
        &mut rand::rng(),
        key.key_data().clone(),
        seconds(valid.start),
        seconds(valid.end),
    )?;
    builder.cert_type(certificate::CertType::User)?;
    builder.key_id(key_id)?;
    builder.valid_principal(principal)?;
    // The certificate is the same for the same input but for its nonce: the serial number is not used.
    builder.serial(0)?;
    builder.extension(PERMIT_PORT_FORWARDING, "")?;
    builder.extension(PERMIT_PTY, "")?;
    builder.sign(ca)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Whom an agent lets in.
#[derive(Clone, Debug)]
pub struct Authority {
    ca: PublicKey,
    principal: String,
}

/// What a checked certificate allows. Only [`Authority::check`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authorized {
    key_id: String,
    pty: bool,
    port_forwarding: bool,
}

impl Authorized {
    /// Who logged in, as the certificate calls them.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Whether sessions may have a terminal.
    pub fn may_have_pty(&self) -> bool {
        self.pty
    }

    /// Whether the connection may forward ports.
    pub fn may_forward_ports(&self) -> bool {
        self.port_forwarding
    }
}

/// Why a certificate was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("the user is not `{}`", ws_api::ssh::USER)]
    User,
    #[error("it is a host's certificate")]
    Kind,
    #[error("it is not signed by this workspace's CA")]
    Signature,
    #[error("it does not name this workspace, and only this one")]
    Principal,
    #[error("it is not valid at this time")]
    Time,
    #[error("it has a critical option")]
    CriticalOption,
}

impl Authority {
    /// Trusts certificates by `ca` that name `principal`.
    pub fn new(ca: PublicKey, principal: impl Into<String>) -> Self {
        Self { ca, principal: principal.into() }
    }

    /// Checks all of a certificate but the possession of its key, which the SSH handshake proves.
    pub fn check(&self, cert: &Certificate, user: &str, now: SystemTime) -> Result<Authorized, Refused> {
        if user != ws_api::ssh::USER {
            return Err(Refused::User);
        }
        if cert.cert_type() != certificate::CertType::User {
            return Err(Refused::Kind);
        }
        if cert.signature_key() != self.ca.key_data() || cert.verify_signature().is_err() {
            return Err(Refused::Signature);
        }
        // A certificate without principals is one for everybody, so equality and not membership is asked for.
        if cert.valid_principals() != [self.principal.as_str()] {
            return Err(Refused::Principal);
        }
        if !(cert.valid_after()..cert.valid_before()).contains(&seconds(now)) {
            return Err(Refused::Time);
        }
        // An option that is critical and not enforced must refuse; none is enforced here.
        if !cert.critical_options().is_empty() {
            return Err(Refused::CriticalOption);
        }
        let permits = |name: &str| cert.extensions().contains_key(name);
        Ok(Authorized {
            key_id: cert.key_id().to_owned(),
            pty: permits(PERMIT_PTY),
            port_forwarding: permits(PERMIT_PORT_FORWARDING),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ssh_key::private::Ed25519Keypair;

    use super::*;

    const POD: &str = "5f1c7a52-8a3c-4a0e-9a75-0b7d2f1f3c11";

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn authority() -> Authority {
        Authority::new(key(1).public_key().clone(), POD)
    }

    fn signed(change: impl FnOnce(&mut certificate::Builder)) -> Certificate {
        let user = key(2).public_key().key_data().clone();
        let mut builder =
            certificate::Builder::new_with_random_nonce(&mut rand::rng(), user, 100, 200).unwrap();
        change(&mut builder);
        builder.sign(&key(1)).unwrap()
    }

    #[test]
    fn what_the_operator_issues_the_agent_accepts() {
        let cert = issue(&key(1), key(2).public_key(), POD, "team-a/fix-tests", at(100)..at(200)).unwrap();
        let line = cert.to_openssh().unwrap();
        let read = Certificate::from_openssh(&line).unwrap();
        assert_eq!(
            authority().check(&read, "ws", at(150)),
            Ok(Authorized { key_id: "team-a/fix-tests".into(), pty: true, port_forwarding: true })
        );
    }

    #[test]
    fn a_certificate_is_good_for_one_pod_one_user_and_its_time() {
        let by = |ca: u8, principal: &str| {
            issue(&key(ca), key(2).public_key(), principal, "id", at(100)..at(200)).unwrap()
        };
        let cases = [
            (by(1, POD), "ws", 100, None),
            (by(1, POD), "ws", 199, None),
            (by(1, POD), "ws", 99, Some(Refused::Time)),
            (by(1, POD), "ws", 200, Some(Refused::Time)),
            (by(1, POD), "root", 150, Some(Refused::User)),
            (by(1, "another-pod"), "ws", 150, Some(Refused::Principal)),
            (by(3, POD), "ws", 150, Some(Refused::Signature)),
        ];
        for (cert, user, now, refused) in cases {
            assert_eq!(authority().check(&cert, user, at(now)).err(), refused, "{user} {now}");
        }
    }

    #[test]
    fn certificates_that_the_operator_does_not_issue_are_refused() {
        let host = signed(|builder| {
            builder.cert_type(certificate::CertType::Host).unwrap().valid_principal(POD).unwrap();
        });
        let everybody = signed(|builder| {
            builder.all_principals_valid().unwrap();
        });
        let several = signed(|builder| {
            builder.valid_principal(POD).unwrap().valid_principal("another-pod").unwrap();
        });
        let optional = signed(|builder| {
            builder.valid_principal(POD).unwrap().critical_option("force-command", "true").unwrap();
        });
        let plain = signed(|builder| {
            builder.valid_principal(POD).unwrap();
        });
        let check = |cert| authority().check(&cert, "ws", at(150));
        assert_eq!(check(host), Err(Refused::Kind));
        assert_eq!(check(everybody), Err(Refused::Principal));
        assert_eq!(check(several), Err(Refused::Principal));
        assert_eq!(check(optional), Err(Refused::CriticalOption));
        let plain = check(plain).unwrap();
        assert!(!plain.may_have_pty() && !plain.may_forward_ports());
    }
}
