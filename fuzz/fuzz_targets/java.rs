//! A plain reading of Java's own key stores, as `sun.security.provider.JavaKeyStore` has it.

use sha1::{Digest as _, Sha1};

const DIGEST: usize = 20;
const PASSWORD: &[u8] = b"\0c\0h\0a\0n\0g\0e\0i\0t";

/// The certificates of a store with its password's digest, each with its name.
pub fn certificates(store: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let (mut rest, digest) = store.split_at_checked(store.len().checked_sub(DIGEST)?)?;
    let digested = Sha1::new().chain_update(PASSWORD).chain_update("Mighty Aphrodite").chain_update(rest);
    if digested.finalize()[..] != *digest || number(&mut rest)? != 0xFEED_FEED || number(&mut rest)? != 2 {
        return None;
    }
    let mut certificates = Vec::new();
    for _ in 0..number(&mut rest)? {
        let is_certificate = number(&mut rest)? == 2;
        let name = text(&mut rest)?;
        taken(&mut rest, size_of::<u64>())?;
        if !is_certificate || text(&mut rest)? != "X.509" {
            return None;
        }
        let length = usize::try_from(number(&mut rest)?).ok()?;
        certificates.push((name, taken(&mut rest, length)?.to_vec()));
    }
    rest.is_empty().then_some(certificates)
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(taken(bytes, size_of::<u32>())?.try_into().ok()?))
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = u16::from_be_bytes(taken(bytes, size_of::<u16>())?.try_into().ok()?);
    String::from_utf8(taken(bytes, length.into())?.to_vec()).ok()
}

fn taken<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}
