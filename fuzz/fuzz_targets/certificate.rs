//! Certificates that somebody presents to an agent: only what its CA signed, for this pod, this user and this time, is let in.

#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libfuzzer_sys::fuzz_target;
use russh::keys::{Certificate, PrivateKey, ssh_key::private::Ed25519Keypair};
use ws_ssh::certificate::Authority;

const POD: &str = "5f1c7a52-8a3c-4a0e-9a75-0b7d2f1f3c11";
const USER: &str = "ws";

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let ca = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
    Authority::new(ca.public_key().clone(), POD)
});

fuzz_target!(|bytes: &[u8]| {
    // As it comes in a handshake, and as it stands in a status.
    let read = Certificate::from_bytes(bytes).ok();
    let text = str::from_utf8(bytes).ok().and_then(|text| Certificate::from_openssh(text).ok());
    for mut certificate in read.into_iter().chain(text) {
        // Text behind it, which is no part of it.
        certificate.set_comment("");
        let again = certificate.to_bytes().expect("what was read can be written");
        assert_eq!(Certificate::from_bytes(&again).expect("its own encoding"), certificate);
        for second in [0, 99, 100, 150, 199, 200, u64::from(u32::MAX)] {
            let now: SystemTime = UNIX_EPOCH + Duration::from_secs(second);
            assert!(AUTHORITY.check(&certificate, "root", now).is_err());
            let Ok(authorized) = AUTHORITY.check(&certificate, USER, now) else { continue };
            assert!((certificate.valid_after()..certificate.valid_before()).contains(&second));
            assert_eq!(certificate.valid_principals(), [POD]);
            assert!(certificate.verify_signature().is_ok() && certificate.critical_options().is_empty());
            assert_eq!(authorized.key_id(), certificate.key_id());
            // The seeds have but these that the CA signed.
            assert!(matches!(certificate.key_id(), "seed" | "") && (100..200).contains(&second));
        }
    }
});
