//! The receiver's answer to a project: what it has, in a form the sender can check.

use std::io::Read;

use crate::digest::Digest;
use crate::wire::WireError;
use crate::wire::primitive::take_array;

/// What the receiver has after a transfer. The sender compares it with what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Paths in the tree.
    pub entries: u64,
    /// Bytes of content in all files together.
    pub bytes: u64,
    /// Digest of the tree's manifest.
    pub manifest: Digest,
}

impl Receipt {
    /// Length of the encoded form in bytes.
    pub const BYTES: usize = 8 + 8 + 8 + Digest::BYTES;
    const MAGIC: [u8; 8] = *b"wsrcpt\0\x01";

    /// The receipt as bytes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let parts = [
            &Self::MAGIC[..],
            &self.entries.to_be_bytes(),
            &self.bytes.to_be_bytes(),
            self.manifest.as_bytes(),
        ];
        let mut bytes = [0; Self::BYTES];
        for (to, from) in bytes.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        bytes
    }

    /// Reads a receipt; nothing after it is consumed.
    pub fn decode(mut input: impl Read) -> Result<Self, WireError> {
        if take_array(&mut input)? != Self::MAGIC {
            return Err(WireError::Version);
        }
        Ok(Self {
            entries: u64::from_be_bytes(take_array(&mut input)?),
            bytes: u64::from_be_bytes(take_array(&mut input)?),
            manifest: Digest::from_bytes(take_array(&mut input)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_survives_its_encoding() {
        let receipt = Receipt { entries: 3, bytes: 1 << 40, manifest: Digest::of(b"x") };
        let bytes = receipt.encode();
        assert_eq!(Receipt::decode(bytes.as_slice()).unwrap(), receipt);
        assert!(matches!(Receipt::decode(&bytes[1..]), Err(WireError::Version)));
        assert!(matches!(Receipt::decode(&bytes[..20]), Err(WireError::Truncated)));
    }
}
