//! Packs the relocations of the program, which a static one carries and reads through when it starts: it takes a mebibyte less of
//! memory. They are as in the [generic ABI](https://groups.google.com/g/generic-abi/c/bX460iggiKg), `SHT_RELR`.

use std::process::Command;

/// The first version of glibc that knows them, also in a static program.
const KNOWN_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if glibc().is_some_and(|version| version >= KNOWN_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version that is linked: this machine's.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
