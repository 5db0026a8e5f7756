//! Certificates of authorities in Java's own format, for Java reads no PEM file: a key store of type JKS, version 2, as
//! `sun.security.provider.JavaKeyStore` reads it. All numbers are big-endian, a text is its length in 16 bits and its bytes.
//!
//! ```text
//! FEEDFEED  00000002  number of entries
//! each: 00000002 (a trusted certificate), its name, when it was added in milliseconds since 1970, "X.509", length, DER
//! SHA-1 of the password in UTF-16, "Mighty Aphrodite" and all of the above
//! ```
//!
//! Newer Javas write PKCS #12 and read both. The digest protects nothing here, since everybody knows the password.

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use sha1::{Digest as _, Sha1};

/// The password of the authorities that Java brings, by which programs expect to open any.
pub const PASSWORD: &str = "changeit";

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;
const KIND: &str = "X.509";
const SALT: &[u8] = b"Mighty Aphrodite";
/// A moment that never changes, so that the same certificates make the same file.
const ADDED: u64 = 0;

/// A key store with the certificates of a PEM file. What is none in there is left out.
pub fn of_pem(authorities: &str) -> Vec<u8> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(authorities.as_bytes()).filter_map(Result::ok).collect();
    let mut store = [MAGIC, VERSION, length(certificates.len())].map(u32::to_be_bytes).concat();
    for (index, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        push_text(&mut store, &format!("authority-{index}"));
        store.extend(ADDED.to_be_bytes());
        push_text(&mut store, KIND);
        store.extend(length(certificate.len()).to_be_bytes());
        store.extend_from_slice(certificate);
    }
    let mut digest = Sha1::new();
    digest.update(PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>());
    digest.update(SALT);
    digest.update(&store);
    store.extend_from_slice(&digest.finalize());
    store
}

fn push_text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    store.extend(length.to_be_bytes());
    store.extend(text.bytes().take(length.into()));
}

/// Far more than a file of authorities holds.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_each_certificate_in_its_order() {
        // `AQID` are the bytes 1, 2 and 3.
        let pem =
            |base64: &str| format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let header = |entries: u8| [0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, entries];
        let entry = |number: u8, content: &[u8]| {
            [
                &[0, 0, 0, 2, 0, 11][..],
                b"authority-",
                &[b'0' + number],
                &[0; 8],
                b"\0\x05X.509\0\0\0",
                &[content.len().try_into().unwrap()],
                content,
            ]
            .concat()
        };
        for (authorities, expected) in [
            (String::new(), header(0).to_vec()),
            ("nothing of the kind".to_owned(), header(0).to_vec()),
            (pem("AQID"), [&header(1)[..], &entry(0, &[1, 2, 3])].concat()),
            (
                format!("# One\n{}# Two\n{}", pem("AQID"), pem("BA==")),
                [&header(2)[..], &entry(0, &[1, 2, 3]), &entry(1, &[4])].concat(),
            ),
        ] {
            let store = of_pem(&authorities);
            let (content, digest) = store.split_at(store.len() - 20);
            assert_eq!(content, expected, "{authorities}");
            assert_eq!(digest.len(), 20);
        }
    }

    #[test]
    fn the_digest_is_the_one_that_java_computes() {
        // printf '\0c\0h\0a\0n\0g\0e\0i\0tMighty Aphrodite\xfe\xed\xfe\xed\0\0\0\2\0\0\0\0' | sha1sum
        let digest: Vec<_> = of_pem("").iter().skip(12).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest.concat(), "e2686e45fb43dfa4d992dd41ceb6b21c6330d792");
    }
}
