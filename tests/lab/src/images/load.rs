//! Imports archives into containerd, whose content outlives a lab: each archive once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Archive;
use super::buildah::digest;
use crate::containerd::Containerd;
use crate::progress::Progress;

/// Which archive each image came from last: references to digests of files.
type Imported = BTreeMap<String, String>;

/// Imports the archives that are not the source of an image already. `root` is containerd's, which keeps the record.
pub fn load(containerd: &Containerd, root: &Path, archives: &[Archive], progress: &Progress) -> Result<()> {
    let present = containerd.images()?;
    let mut imported = read(root)?;
    // What was imported once can have been removed since.
    imported.retain(|image, _| present.contains(image));
    for Archive(path) in archives {
        let digest = digest(path)?.to_hex().to_string();
        if imported.values().any(|known| *known == digest) {
            continue;
        }
        progress.note(&format!("importing {}", path.display()));
        let images = containerd.import(path)?;
        // containerd names an image by its configuration too when it appears, not when it changes; image volumes ask for
        // that name.
        if images.iter().any(|image| imported.contains_key(image)) {
            containerd.remove_images(&images)?;
            containerd.import(path)?;
        }
        imported.extend(images.into_iter().map(|image| (image, digest.clone())));
        let text = serde_json::to_string_pretty(&imported).context("remembering imported images")?;
        fs::write(record(root), text).context("remembering imported images")?;
    }
    Ok(())
}

fn record(root: &Path) -> PathBuf {
    root.join("imported.json")
}

fn read(root: &Path) -> Result<Imported> {
    match fs::read(record(root)) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("reading the record of imported images"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Imported::new()),
        Err(error) => Err(error).context("reading the record of imported images"),
    }
}
