//! Whom the programs of the workspace trust: the authorities of the system and the installation's, in two files of the home directory.
//!
//! That directory is the workspace's user's, and so may the system's file be. What stands at their names is not waited for and not
//! read without end, in the home directory not followed either, and all of it happens on a thread that nothing else waits for.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat},
    path::Arg,
};
use tokio::task::spawn_blocking;

use crate::key_store;

/// Where systems keep the authorities that they trust.
pub const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The folder in the home directory, and what is in it: the authorities for programs, for Java, and either while it is written.
const FOLDER: &str = ".ws";
const AUTHORITIES: &str = "authorities.pem";
const KEY_STORE: &str = "authorities.jks";
const DRAFT: &str = "authorities.new";

/// Many times what systems trust, in bytes.
const MAX_SYSTEM: u64 = 4 << 20;

/// The file with all authorities that programs should trust.
pub fn for_programs(home: &Path) -> PathBuf {
    home.join(FOLDER).join(AUTHORITIES)
}

/// The same for Java.
pub fn for_java(home: &Path) -> PathBuf {
    home.join(FOLDER).join(KEY_STORE)
}

/// The places where programs look.
#[derive(Clone, Debug)]
pub struct Trust {
    home: PathBuf,
    system: Vec<PathBuf>,
}

impl Trust {
    /// With these as the system's own files, of which the first that there is counts.
    pub fn new(home: &Path, system: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { home: home.to_owned(), system: system.into_iter().map(Into::into).collect() }
    }

    /// Has programs trust the installation's authority beside those of the system.
    pub async fn add(&self, certificate: String) -> io::Result<()> {
        let trust = self.clone();
        spawn_blocking(move || trust.write(&certificate)).await?
    }

    fn write(&self, certificate: &str) -> io::Result<()> {
        let system = self.system.iter().find_map(|path| of_system(path, certificate).ok());
        let authorities = system.unwrap_or_else(|| certificate.to_owned());
        let folder = self.folder()?;
        let programs = replace(folder.as_fd(), AUTHORITIES, authorities.as_bytes());
        let java = replace(folder.as_fd(), KEY_STORE, &key_store::of_pem(&authorities));
        programs.and(java)
    }

    fn folder(&self) -> io::Result<OwnedFd> {
        let folder = self.home.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(CWD, &folder, flags, Mode::empty())?)
    }
}

/// What the system's file holds, with the certificate, which is added there too if the image lets the workspace's user write: a program
/// that heeds no variable reads that file. Some systems have a link there.
fn of_system(path: &Path, certificate: &str) -> io::Result<String> {
    let writable = open(CWD, path, OFlags::RDWR | OFlags::APPEND);
    let mut file = writable.or_else(|_| open(CWD, path, OFlags::RDONLY))?;
    let length = file.metadata()?.len();
    // The kernel's own files say that they are empty: what they tell of the agent is nobody's business.
    if !(1..=MAX_SYSTEM).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut authorities = String::new();
    (&file).take(length).read_to_string(&mut authorities)?;
    let missing = missing(&authorities, certificate);
    // In one piece at its end: whoever reads it meanwhile finds the others whole.
    file.write_all(missing.as_bytes()).ok();
    Ok(authorities + &missing)
}

/// What has to follow the authorities so that the certificate is among them.
fn missing(authorities: &str, certificate: &str) -> String {
    if authorities.contains(certificate) {
        return String::new();
    }
    let gap = if authorities.is_empty() || authorities.ends_with('\n') { "" } else { "\n" };
    format!("{gap}{certificate}")
}

/// Programs read the file at any time: it is whole at each, and left alone as long as nothing changes.
fn replace(folder: BorrowedFd<'_>, name: &str, content: &[u8]) -> io::Result<()> {
    if holds(folder, name, content) {
        return Ok(());
    }
    // What cannot be removed is in the way of the next step, which says so.
    unlinkat(folder, DRAFT, AtFlags::empty()).or_else(|_| unlinkat(folder, DRAFT, AtFlags::REMOVEDIR)).ok();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let draft = openat(folder, DRAFT, flags, Mode::from_raw_mode(0o644))?;
    File::from(draft).write_all(content)?;
    // A file takes the place of anything but a folder.
    unlinkat(folder, name, AtFlags::REMOVEDIR).ok();
    Ok(renameat(folder, DRAFT, folder, name)?)
}

fn holds(folder: BorrowedFd<'_>, name: &str, content: &[u8]) -> bool {
    let Ok(file) = open(folder, name, OFlags::RDONLY | OFlags::NOFOLLOW) else { return false };
    let length = content.len() as u64;
    if !file.metadata().is_ok_and(|metadata| metadata.len() == length) {
        return false;
    }
    let mut there = Vec::new();
    file.take(length).read_to_end(&mut there).is_ok() && there == content
}

/// Opens a file, and nothing else; nothing is waited for, and no terminal becomes the agent's.
fn open(folder: BorrowedFd<'_>, name: impl Arg, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests;
