//! Authorities that a workspace trusts, in files that it may have written: nothing of the system's is lost, what programs get holds the
//! installation's, and Java gets the same. An input is the system's file, and what the two files were before.

#![no_main]

use std::{fs, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

use crate::{
    parts::parts,
    trust::{Trust, for_java, for_programs},
};

mod java;
#[path = "../../operator/agent/src/key_store.rs"]
mod key_store;
mod parts;
#[allow(dead_code)]
#[path = "../../operator/agent/src/trust.rs"]
mod trust;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The installation's.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
/// What an empty store takes.
const EMPTY: usize = 32;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|bytes: &[u8]| {
    let [system, programs, java] = parts(bytes);
    let home = tempfile::tempdir().expect("a folder");
    let [for_programs, for_java] = [for_programs(home.path()), for_java(home.path())];
    let (file, folder) = (home.path().join("system.pem"), for_programs.parent().expect("it is in a folder"));
    fs::create_dir(folder).expect("a folder");
    for (path, content) in [(&file, system), (&for_programs, programs), (&for_java, java)] {
        fs::write(path, content).expect("a file");
    }
    let expected = trusted(system);
    // The second time nothing is new.
    for _ in 0..2 {
        let added = RUNTIME.block_on(Trust::new(home.path(), [&file]).add(CERTIFICATE.to_owned()));
        added.expect("nothing is in the way");
        let programs = fs::read_to_string(&for_programs).expect("a file of text");
        assert_eq!(programs, expected);
        let is_read = !system.is_empty() && str::from_utf8(system).is_ok();
        assert_eq!(fs::read(&file).expect("a file"), if is_read { expected.as_bytes() } else { system });
        assert_eq!(fs::read_dir(folder).expect("the folder").count(), 2);
        holds_what_is_written(&programs, &fs::read(&for_java).expect("a file"));
    }
});

/// What programs should get.
fn trusted(system: &[u8]) -> String {
    match str::from_utf8(system) {
        Ok("") | Err(_) => CERTIFICATE.to_owned(),
        Ok(system) if system.contains(CERTIFICATE) => system.to_owned(),
        Ok(system) if system.ends_with('\n') => system.to_owned() + CERTIFICATE,
        Ok(system) => format!("{system}\n{CERTIFICATE}"),
    }
}

/// Java gets the certificates that are there, and none that is not.
fn holds_what_is_written(authorities: &str, store: &[u8]) {
    assert!(store.len() <= authorities.len() + EMPTY, "it is bounded");
    let certificates = java::certificates(store).expect("a key store");
    let names: Vec<String> = (0..certificates.len()).map(|number| format!("authority-{number}")).collect();
    assert!(certificates.iter().map(|(name, _)| name).eq(&names));
    let certificates: Vec<_> = certificates.into_iter().map(|(_, certificate)| certificate).collect();
    let lines = authorities.split(['\n', '\r']).filter(|line| !line.starts_with("-----"));
    let written: String = lines.flat_map(|line| line.chars().filter(|sign| !is_space(*sign))).collect();
    for certificate in &certificates {
        // What is left over is a group of its own, of which not all bits count.
        let whole = &certificate[..certificate.len() / 3 * 3];
        assert!(written.contains(&STANDARD.encode(whole)), "it was made up");
    }
    if let Some(expected) = plainly(authorities) {
        assert_eq!(certificates, expected, "one is missing");
    }
}

fn is_space(sign: char) -> bool {
    matches!(sign, '\t'..='\r' | ' ')
}

/// The certificates of a file that is as such files should be (RFC 7468 §3), but for lines between them, which say what they are.
fn plainly(authorities: &str) -> Option<Vec<Vec<u8>>> {
    let (mut certificates, mut open) = (Vec::new(), None::<String>);
    for line in authorities.split(['\n', '\r']) {
        match (&mut open, line) {
            (None, BEGIN) => open = Some(String::new()),
            (Some(base64), END) => {
                certificates.push(STANDARD.decode(base64).ok()?);
                open = None;
            }
            (_, line) if line.starts_with("-----") => return None,
            (Some(base64), line) => base64.push_str(line),
            (None, _) => {}
        }
    }
    open.is_none().then_some(certificates)
}
