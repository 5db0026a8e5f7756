//! The file that tells others that the policies of all pods are in force.

use std::{fs, io, path::PathBuf};

/// There exactly as long as readiness lasts; withdrawn when this is dropped.
#[derive(Debug)]
pub(crate) struct ReadyFile {
    path: PathBuf,
    ready: bool,
}

impl ReadyFile {
    /// Not ready yet, whatever an earlier run left behind.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        let mut file = Self { path, ready: true };
        file.set(false)?;
        Ok(file)
    }

    /// Shows or withdraws the file where that changes something.
    pub(crate) fn set(&mut self, ready: bool) -> io::Result<()> {
        if self.ready == ready {
            return Ok(());
        }
        if ready {
            fs::write(&self.path, "")?;
        } else {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => (),
            }
        }
        self.ready = ready;
        Ok(())
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Nobody is left to tell.
        drop(self.set(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_exactly_while_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, "of an earlier run").unwrap();
        let mut file = ReadyFile::new(path.clone()).unwrap();
        assert!(!path.exists());
        for ready in [true, true, false, false, true] {
            file.set(ready).unwrap();
            assert_eq!(path.exists(), ready);
        }
        drop(file);
        assert!(!path.exists());
    }
}
