//! Projects to send into a workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// What mends [`Project::failing`], as it arrives in `src/slug.js`.
pub const MENDED: &str = ".replace(/^-|-$/g, '')";

/// A folder that goes away with this value.
pub struct Project {
    folder: TempDir,
}

impl Project {
    pub fn empty() -> Result<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("ws-project-").tempdir()? })
    }

    /// The sample that the demo uses as well: a Node project with passing tests.
    pub fn sample() -> Result<Self> {
        let project = Self::empty()?;
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/project"), project.path())?;
        Ok(project)
    }

    /// The sample with a test that fails until it is mended.
    pub fn failing() -> Result<Self> {
        Self::sample()?.with("test/dash.test.js", include_str!("../demo/dash.test.js"))
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file and the folders that it is in.
    pub fn with(self, name: &str, content: impl AsRef<[u8]>) -> Result<Self> {
        let path = self.file(name);
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        Ok(self)
    }

    pub fn read(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.file(name)).with_context(|| name.to_owned())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
