//! Folders that are being filled, and their handles.

use std::collections::HashMap;

use super::ReceiveError;
use crate::confined::{Confined, Dir, FOLDER_MODE};
use crate::path::TreePath;

/// Handles kept open at a time; files arrive folder by folder, from a few threads at once.
const OPEN: usize = 64;

/// Makes folders and hands out their handles.
pub(super) struct Folders {
    root: Confined,
    open: HashMap<Vec<u8>, Dir>,
}

impl Folders {
    pub(super) fn new(root: Confined) -> Self {
        Self { root, open: HashMap::new() }
    }

    /// Makes a folder that must not exist.
    pub(super) fn make(&mut self, path: &TreePath) -> Result<(), ReceiveError> {
        let made = self.of(path)?.create_dir(path.name(), FOLDER_MODE);
        made.map_err(|source| ReceiveError::Write { path: path.clone(), source })
    }

    /// The folder that `path` is in.
    pub(super) fn of(&mut self, path: &TreePath) -> Result<Dir, ReceiveError> {
        let folder = path.split().0;
        if let Some(open) = self.open.get(folder) {
            return Ok(open.clone());
        }
        let opened =
            self.root.dir(folder).map_err(|source| ReceiveError::Write { path: path.clone(), source })?;
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(folder.to_vec(), opened.clone());
        Ok(opened)
    }
}
