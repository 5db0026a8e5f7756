//! One lab on a machine, one build in a cache: advisory locks that the kernel drops with their holder.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::progress::Progress;

/// Held until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
#[must_use = "the lock is released when this value is dropped"]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock at `path`, and says so when somebody else holds it.
    ///
    /// `purpose` ends the sentence "waiting for another …".
    pub fn acquire(path: &Path, purpose: &str, progress: &Progress) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.note(&format!("waiting for another {purpose}"));
                file.lock().with_context(|| format!("locking {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        Ok(Self { _file: file })
    }
}
