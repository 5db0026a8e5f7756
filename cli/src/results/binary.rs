//! Binary content in a patch: git's object names, and `literal` blocks of deflated bytes in base 85.

use sha1::{Digest as _, Sha1};

/// Characters of git's base 85 (base85.c; the alphabet of RFC 1924).
const ALPHABET: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
/// Deflated bytes in a line.
const LINE: usize = 52;
const LEVEL: u8 = 6;

/// Git's name of a blob, in repositories that use SHA-1. `git apply` checks binary content with it.
pub fn blob_name(content: Option<&[u8]>) -> String {
    let Some(content) = content else { return "0".repeat(40) };
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hasher.finalize().iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
}

/// Appends the `literal` block that stands for `content`.
pub fn write_literal(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(format!("literal {}\n", content.len()).as_bytes());
    let deflated = miniz_oxide::deflate::compress_to_vec_zlib(content, LEVEL);
    for line in deflated.chunks(LINE) {
        out.push(length_letter(line.len()));
        for group in line.chunks(4) {
            write_group(out, group);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// `A` to `Z` for 1 to 26, `a` to `z` for 27 to 52.
fn length_letter(length: usize) -> u8 {
    let length = u8::try_from(length).unwrap_or_default();
    if length <= 26 { b'A' + length.saturating_sub(1) } else { b'a' + (length - 27) }
}

fn write_group(out: &mut Vec<u8>, group: &[u8]) {
    let padded = group.iter().copied().chain(std::iter::repeat(0)).take(4);
    let mut number = padded.fold(0_u32, |number, byte| number << 8 | u32::from(byte));
    let mut digits = [0; 5];
    for digit in digits.iter_mut().rev() {
        let index = usize::try_from(number % 85).unwrap_or_default();
        *digit = ALPHABET.get(index).copied().unwrap_or_default();
        number /= 85;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_gits_name() {
        assert_eq!(blob_name(Some(b"")), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob_name(Some(b"hello\n")), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(blob_name(None), "0000000000000000000000000000000000000000");
    }

    #[test]
    fn groups_and_lengths_are_written_as_git_reads_them() {
        let mut out = Vec::new();
        write_group(&mut out, &[0xff; 4]);
        write_group(&mut out, &[0, 0, 0, 1]);
        write_group(&mut out, &[0]);
        assert_eq!(out, b"|NsC0000010000".iter().copied().chain([b'0']).collect::<Vec<_>>());
        assert_eq!([1, 26, 27, 52].map(length_letter), *b"AZaz");
    }
}
