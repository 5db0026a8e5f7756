//! Numbers, bytes, paths and entries.

use std::io::Read;

use super::WireError;
use crate::digest::Digest;
use crate::entry::{Entry, FileEntry, Target};
use crate::path::TreePath;

const DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const EXECUTABLE_FILE: u8 = 3;
const SYMLINK: u8 = 4;

/// Appends a number as LEB128.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends bytes with their length in front.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends what stands at a path.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    match entry {
        Entry::Directory => out.push(DIRECTORY),
        Entry::File(file) => {
            out.push(if file.executable { EXECUTABLE_FILE } else { FILE });
            put_number(out, file.size);
            out.extend_from_slice(file.digest.as_bytes());
        }
        Entry::Symlink(target) => {
            out.push(SYMLINK);
            put_bytes(out, target.as_bytes());
        }
    }
}

pub(crate) fn take_byte(input: &mut impl Read) -> Result<u8, WireError> {
    let [byte] = take_array::<1>(input)?;
    Ok(byte)
}

pub(crate) fn take_array<const N: usize>(input: &mut impl Read) -> Result<[u8; N], WireError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads a number in its shortest form.
pub(crate) fn take_number(input: &mut impl Read) -> Result<u64, WireError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(input)?;
        let low = u64::from(byte & 0x7f);
        let overflows = shift == 63 && low > 1;
        let padded = shift > 0 && byte == 0;
        if overflows || padded {
            return Err(WireError::Malformed("a number is not in its shortest form"));
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(WireError::Malformed("a number is longer than 64 bits"))
}

pub(crate) fn take_flag(input: &mut impl Read) -> Result<bool, WireError> {
    match take_byte(input)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Malformed("a flag is neither 0 nor 1")),
    }
}

/// Reads bytes with their length in front; longer than `longest` is refused before memory is reserved.
pub(crate) fn take_bytes(input: &mut impl Read, longest: usize) -> Result<Vec<u8>, WireError> {
    let length = usize::try_from(take_number(input)?).unwrap_or(usize::MAX);
    if length > longest {
        return Err(WireError::Malformed("a name is too long"));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn take_path(input: &mut impl Read) -> Result<TreePath, WireError> {
    Ok(TreePath::parse(&take_bytes(input, TreePath::MAX_BYTES)?)?)
}

pub(crate) fn take_target(input: &mut impl Read) -> Result<Target, WireError> {
    Target::parse(&take_bytes(input, Target::MAX_BYTES)?)
        .map_err(|_| WireError::Malformed("the target of a symbolic link is not valid"))
}

pub(crate) fn take_digest(input: &mut impl Read) -> Result<Digest, WireError> {
    Ok(Digest::from_bytes(take_array(input)?))
}

pub(crate) fn take_entry(input: &mut impl Read) -> Result<Entry, WireError> {
    match take_byte(input)? {
        DIRECTORY => Ok(Entry::Directory),
        kind @ (FILE | EXECUTABLE_FILE) => {
            let (size, digest) = (take_number(input)?, take_digest(input)?);
            Ok(Entry::File(FileEntry { executable: kind == EXECUTABLE_FILE, size, digest }))
        }
        SYMLINK => Ok(Entry::Symlink(take_target(input)?)),
        _ => Err(WireError::Malformed("an entry of unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(take_number(&mut bytes.as_slice()).unwrap(), number);
        }
        for bad in
            [&[0x80, 0x00][..], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]]
        {
            assert!(matches!(take_number(&mut &*bad), Err(WireError::Malformed(_))));
        }
        assert!(matches!(take_number(&mut [0x80_u8].as_slice()), Err(WireError::Truncated)));
    }

    #[test]
    fn a_long_name_is_refused_before_it_is_read() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, u64::MAX);
        assert!(matches!(take_bytes(&mut bytes.as_slice(), 4096), Err(WireError::Malformed(_))));
    }
}
