//! By what the gateway knows a workspace's agent.

use std::fmt;

use russh::keys::{
    Algorithm, HashAlg, PrivateKey, PublicKey,
    ssh_key::{self, Signature, SshSig},
};

/// Separates these signatures from all others by the same key.
const NAMESPACE: &str = "gateway@ws.dev";
const HASH: HashAlg = HashAlg::Sha256;

/// Bytes of a [`Token`].
pub const LENGTH: usize = 64;

/// A signature by a workspace's host key over its pod's UID, as OpenSSH's
/// [PROTOCOL.sshsig](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig) makes one. Only the agent of that
/// pod can have it, and whoever knows the host key's public half can check it.
#[derive(Clone, Copy)]
pub struct Token([u8; LENGTH]);

impl Token {
    pub fn sign(host_key: &PrivateKey, pod_uid: &str) -> Result<Self, ssh_key::Error> {
        let signed = host_key.sign(NAMESPACE, HASH, pod_uid.as_bytes())?;
        let bytes = signed.signature_bytes().try_into().map_err(|_| ssh_key::Error::Crypto)?;
        Ok(Self(bytes))
    }

    /// Whether the holder of this host key signed it for this pod.
    pub fn is_of(&self, host_key: &PublicKey, pod_uid: &str) -> bool {
        let signature = Signature::new(Algorithm::Ed25519, self.0);
        let signed = signature
            .and_then(|signature| SshSig::new(host_key.key_data().clone(), NAMESPACE, HASH, signature));
        signed.is_ok_and(|signed| host_key.verify(NAMESPACE, pod_uid.as_bytes(), &signed).is_ok())
    }

    pub fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        blake3::hash(&self.0) == blake3::hash(&other.0)
    }
}

impl Eq for Token {}

/// Shows nothing of it.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    #[test]
    fn a_token_is_of_one_key_and_one_pod() {
        let token = Token::sign(&key(1), "pod").unwrap();
        let is_of = |token: Token, seed, pod| token.is_of(key(seed).public_key(), pod);
        assert!(is_of(token, 1, "pod"));
        assert!(!is_of(token, 2, "pod"));
        assert!(!is_of(token, 1, "other"));
        let mut bytes = *token.as_bytes();
        bytes[LENGTH - 1] ^= 1;
        assert!(!is_of(Token::from_bytes(bytes), 1, "pod"));
        assert!(!is_of(Token::from_bytes([0; LENGTH]), 1, "pod"));
    }

    #[test]
    fn it_is_the_same_each_time_and_shows_nothing_of_itself() {
        let token = Token::sign(&key(1), "pod").unwrap();
        assert!(token == Token::sign(&key(1), "pod").unwrap());
        assert!(token != Token::sign(&key(1), "other").unwrap());
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn another_use_of_the_key_makes_no_token() {
        let other = key(1).sign("file", HASH, b"pod").unwrap();
        let bytes = other.signature_bytes().try_into().unwrap();
        assert!(!Token::from_bytes(bytes).is_of(key(1).public_key(), "pod"));
    }
}
