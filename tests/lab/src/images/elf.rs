//! As much of the Executable and Linkable Format as it takes to tell a static program.

/// Type of the program header that names a dynamic linker.
const INTERPRETER: u32 = 3;

/// Whether this 64-bit little-endian program needs no dynamic linker.
pub(super) fn is_static(program: &[u8]) -> bool {
    types(program).is_some_and(|types| !types.contains(&INTERPRETER))
}

/// The types of all program headers; none if it is no such program.
fn types(program: &[u8]) -> Option<Vec<u32>> {
    const MAGIC: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
    program.starts_with(&MAGIC).then_some(())?;
    let offset = usize::try_from(u64::from_le_bytes(field(program, 32)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(field(program, 54)?));
    let count = usize::from(u16::from_le_bytes(field(program, 56)?));
    (0..count)
        .map(|index| field(program, offset.checked_add(index.checked_mul(size)?)?).map(u32::from_le_bytes))
        .collect()
}

fn field<const LENGTH: usize>(program: &[u8], offset: usize) -> Option<[u8; LENGTH]> {
    program.get(offset..offset.checked_add(LENGTH)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_dynamic_linker_is_not_static() {
        let shell = std::fs::read("/bin/sh").unwrap();
        assert!(!is_static(&shell));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(is_static(&own), "the tests are built as everything is");
    }

    #[test]
    fn what_is_no_program_is_not_static() {
        assert!(!is_static(b""));
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b"\x7fELF\x02\x01"));
    }
}
