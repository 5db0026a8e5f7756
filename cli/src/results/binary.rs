//! Binary content in a patch: git's object names, and `literal` blocks of deflated bytes in base 85.

use std::io::{self, Read as _, Write};

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};
use sha1::{Digest as _, Sha1};

use super::sides::Content;

/// Characters of git's base 85 (base85.c; the alphabet of RFC 1924).
const ALPHABET: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
/// Deflated bytes in a line.
const LINE: usize = 52;
const LEVEL: i32 = 6;
/// Positive: with the header of zlib.
const ZLIB: i32 = 15;
const DEFAULT_STRATEGY: i32 = 0;
/// Content that is read at a time.
const CHUNK: usize = 64 << 10;

/// Git's name of a blob, in repositories that use SHA-1. `git apply` checks binary content with it.
pub fn blob_name(content: Option<&Content<'_>>) -> io::Result<String> {
    let Some(content) = content else { return Ok("0".repeat(40)) };
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.size()));
    pieces(content, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(hasher.finalize().iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}")))
}

/// Writes the `literal` block that stands for `content`, or for nothing.
pub fn write_literal(out: &mut dyn Write, content: Option<&Content<'_>>) -> io::Result<()> {
    writeln!(out, "literal {}", content.map_or(0, Content::size))?;
    let flags = create_comp_flags_from_zip_params(LEVEL, ZLIB, DEFAULT_STRATEGY);
    // On the heap: it has buffers of its own.
    let mut compressor = Box::new(CompressorOxide::new(flags));
    let mut lines = Lines { out, pending: Vec::new() };
    let mut deflate = |piece: &[u8], flush| {
        let mut written = Ok(());
        let (status, _) = compress_to_output(&mut compressor, piece, flush, |deflated| {
            written = lines.write(deflated);
            written.is_ok()
        });
        match (written, status) {
            (Ok(()), TDEFLStatus::Okay | TDEFLStatus::Done) => Ok(()),
            (Err(error), _) => Err(error),
            (Ok(()), _) => Err(io::Error::other("it could not be compressed")),
        }
    };
    if let Some(content) = content {
        pieces(content, |piece| deflate(piece, TDEFLFlush::None))?;
    }
    deflate(&[], TDEFLFlush::Finish)?;
    lines.finish()
}

/// Reads exactly as much as the content is said to have.
fn pieces(content: &Content<'_>, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let (mut reader, mut left) = (content.reader()?, content.size());
    let mut buffer = vec![0; CHUNK];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = reader.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter meanwhile"));
        }
        take(buffer.get(..read).unwrap_or_default())?;
        left -= read as u64;
    }
    Ok(())
}

/// Deflated bytes as lines of base 85.
struct Lines<'a> {
    out: &'a mut dyn Write,
    /// Less than a line.
    pending: Vec<u8>,
}

impl Lines<'_> {
    fn write(&mut self, deflated: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(deflated);
        let whole = self.pending.len() - self.pending.len() % LINE;
        let rest = self.pending.split_off(whole);
        let lines = std::mem::replace(&mut self.pending, rest);
        lines.chunks(LINE).try_for_each(|line| write_line(self.out, line))
    }

    fn finish(self) -> io::Result<()> {
        self.pending.chunks(LINE).try_for_each(|line| write_line(self.out, line))?;
        self.out.write_all(b"\n")
    }
}

fn write_line(out: &mut dyn Write, deflated: &[u8]) -> io::Result<()> {
    let mut line = vec![length_letter(deflated.len())];
    for group in deflated.chunks(4) {
        write_group(&mut line, group);
    }
    line.push(b'\n');
    out.write_all(&line)
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
        for (content, name) in [
            (Some(&b""[..]), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            (Some(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a"),
            (None, "0000000000000000000000000000000000000000"),
        ] {
            let content = content.map(|bytes| Content::Short(bytes.to_vec()));
            assert_eq!(blob_name(content.as_ref()).unwrap(), name);
        }
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
