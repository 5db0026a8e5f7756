//! The coding agents that ws is tested with: real ones, from npm, at the versions of a lockfile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::buildah::digest;
use crate::command;
use crate::lock::Lock;
use crate::paths::{self, Cache};
use crate::progress::Progress;

/// What the lockfile pins, and the lockfile.
const PINS: [&str; 2] = ["package.json", "package-lock.json"];
/// The folder that npm makes.
const MODULES: &str = "node_modules";

/// The archive of the installed packages, made anew when the lockfile has changed. npm runs on this machine and not in the
/// image: here it knows the registry and the authorities that it is to use.
pub fn ensure(cache: &Cache, progress: &Progress) -> Result<PathBuf> {
    let pins = paths::sources().join("agents");
    let archive = cache.images().join("coding-agents.tar");
    let made_of = cache.images().join("coding-agents.inputs");
    let [_, lockfile] = PINS.map(|name| pins.join(name));
    let wanted = digest(&lockfile)?.to_hex().to_string();
    let _lock = Lock::acquire(&cache.lock("agents"), "download of the coding agents", progress)?;
    if archive.is_file() && fs::read_to_string(&made_of).is_ok_and(|made_of| made_of == wanted) {
        return Ok(archive);
    }
    progress.note("downloading the coding agents");
    let folder = cache.images().join("coding-agents");
    fs::create_dir_all(&folder).context("creating a folder for the coding agents")?;
    for name in PINS {
        fs::copy(pins.join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
    }
    // What packages run when they are installed is not needed: the programs are in them.
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    command::output(Command::new("npm").args(install).current_dir(&folder))?;
    pack(&folder, &archive)?;
    fs::remove_dir_all(&folder).context("removing the unpacked coding agents")?;
    fs::write(made_of, wanted).context("remembering the lockfile of the coding agents")?;
    Ok(archive)
}

/// The same packages make the same archive, so that the image stays what it is.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let partial = archive.with_extension("partial");
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
        "--file",
    ])
    .arg(&partial)
    .arg("--directory")
    .arg(folder);
    command::output(tar.arg(MODULES))?;
    fs::rename(partial, archive).context("publishing the archive of the coding agents")
}
