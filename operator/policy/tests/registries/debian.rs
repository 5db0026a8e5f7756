//! What apt asks for.

use serde_json::json;
use ws_policy::decide::{Decision, Denied};

use super::{Paths, holds, policy, verdict};

/// As apt writes them: `+`, `~` and `:` of versions are encoded.
const ALLOWED: &[&str] = &[
    "/debian/dists/bookworm/InRelease",
    "/debian/dists/bookworm-updates/Release",
    "/debian-security/dists/bookworm/updates/Release.gpg",
    "/dists/stable/main/binary-amd64/Packages.xz",
    "/dists/stable/main/binary-amd64/Release",
    "/dists/stable/main/binary-amd64/Packages.diff/Index",
    "/dists/stable/main/source/Sources.xz",
    "/dists/stable/main/i18n/Translation-en.xz",
    "/dists/stable/main/Contents-amd64.gz",
    "/dists/stable/main/dep11/Components-amd64.yml.gz",
    "/dists/stable/main/binary-amd64/by-hash/SHA256/0123456789abcdef0123456789abcdef",
    "/InRelease",
    "/Packages.gz",
    "/core:/stable:/v1.30/deb/InRelease",
    "/debian/pool/main/g/glibc/libc6_2.36-9%2bdeb12u4_amd64.deb",
    "/debian/pool/main/g/glibc/libc6_2.36-9+deb12u4_amd64.deb",
    "/debian/pool/main/g/glibc/libc6_2.36-9%7edeb12u4_amd64.deb",
    "/pool/main/g/gcc-12/libstdc%2b%2b6_12.2.0-14_amd64.deb",
    "/debian/pool/main/g/glibc/libc6_1%3a2.36-9_amd64.deb",
    "/debian/pool/main/g/glibc/libc6_2.36-9.dsc",
    "/debian/pool/main/g/glibc/libc6_2.36.orig.tar.xz.asc",
    "/libc6_2.36-9_amd64.deb",
];

const UNNAMED: &[&str] = &["/debian/pool/main/e/evil/evil_1.0_amd64.deb", "/evil_1.0_amd64.deb"];

const MISFITS: &[&str] = &[
    "/debian/pool/main/g/glibc/libc6_CANARY_amd64.deb",
    "/debian/pool/%C3%A9/libc6_2.36-9_amd64.deb",
    "/dists/stable/main/binary-amd64/by-hash/SHA256/CANARY",
    "/CANARY%20/InRelease",
];

#[test]
fn b19_apt_reads_what_a_repository_says_of_itself_and_named_packages() {
    let long = format!("/{}/InRelease", "a".repeat(129));
    let misfits: Vec<_> = MISFITS.iter().copied().chain([long.as_str()]).collect();
    holds("debian", &["libc6", "libstdc++6"], &Paths { named: ALLOWED, unnamed: UNNAMED, misfits: &misfits });
}

#[test]
fn b11_nothing_else_of_a_mirror_is_read() {
    let any = policy("debian", &json!({"minimumAge": "24h"}));
    for path in [
        "/",
        "/debian/",
        "/debian/CANARY",
        "/debian/pool/main/g/glibc/CANARY.deb",
        "/debian/pool/main/g/glibc/libc6_2.36-9_amd64.exe",
        "/debian/dists/bookworm/CANARY",
        "/debian/dists/bookworm/InRelease/CANARY",
        "/debian/dists/bookworm/main/by-hash/CANARY/00",
        "/debian%2Fdists/bookworm/x/InRelease",
    ] {
        let verdict = verdict(&any, path);
        assert!(matches!(verdict, Err(Denied::RequestNotAllowed { .. })), "{path}: {verdict:?}");
    }
}

#[test]
fn b18_a_package_of_debians_has_an_age_and_a_list_has_none() {
    let any = policy("debian", &json!({"minimumAge": "24h"}));
    for (path, is_version) in [
        ("/debian/pool/main/g/glibc/libc6_2.36-9_amd64.deb", true),
        ("/debian/pool/main/g/glibc/glibc_2.36.orig.tar.xz", true),
        ("/debian/dists/bookworm/InRelease", false),
    ] {
        let Ok(Decision::Allowed(allowed)) = verdict(&any, path) else { panic!("{path}") };
        assert_eq!(allowed.minimum_age().is_some(), is_version, "{path}");
    }
}
