//! A workspace's host key, derived and not stored twice.

use russh::keys::{
    PrivateKey,
    ssh_key::private::{Ed25519Keypair, KeypairData},
};

/// Separates this use of the CA's secret from every other one.
const CONTEXT: &str = "ws.dev 2026-11 host key";

#[derive(Debug, thiserror::Error)]
#[error("host keys are derived from Ed25519 keys only")]
pub struct NotEd25519;

/// The host key of the workspace with this UID: the same one each time, and nothing to anybody without the CA's secret.
pub fn derive(ca: &PrivateKey, workspace_uid: &str) -> Result<PrivateKey, NotEd25519> {
    let KeypairData::Ed25519(pair) = ca.key_data() else { return Err(NotEd25519) };
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    // The secret has a fixed length, so secret and UID cannot be divided in two ways.
    hasher.update(&pair.private.to_bytes()).update(workspace_uid.as_bytes());
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(hasher.finalize().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn public(ca: &PrivateKey, uid: &str) -> String {
        derive(ca, uid).unwrap().public_key().to_openssh().unwrap()
    }

    #[test]
    fn a_workspace_has_one_host_key_that_no_other_has() {
        let key = public(&ca(1), "0b0c");
        assert_eq!(key, public(&ca(1), "0b0c"));
        assert_ne!(key, public(&ca(1), "0b0d"));
        assert_ne!(key, public(&ca(2), "0b0c"));
        assert_ne!(key, ca(1).public_key().to_openssh().unwrap());
    }

    #[test]
    fn the_derivation_is_part_of_the_contract() {
        assert_eq!(
            public(&ca(7), "6f6b1f0e-0000-4000-8000-000000000000"),
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIWNYLvjDB4tuE8STbnGzs+k7pfbea9FgdK+DxDsHl9v"
        );
    }
}
