//! What this machine remembers of its workspaces, under `$XDG_STATE_HOME/ws` (XDG Base Directory Specification 0.8).
//!
//! ```text
//! workspaces/<uid>/record.json    name, namespace, cluster
//!                 /project        the project's path, as bytes
//!                 /key            the session's private key
//!                 /baseline       what the workspace confirmed to have received; there once it did
//!                 /pulled         what of the workspace's changes the project has by now
//!                 /changes.patch  what was saved when the workspace ended, or was about to expire
//! ```
//!
//! A workspace's folder is made after the workspace and removed after it, so what is here may be gone from the cluster
//! and is checked against it by UID; what is not here was never made by this machine.

use std::{
    ffi::OsString,
    fs, io,
    io::Write as _,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use russh::keys::{PrivateKey, ssh_key::LineEnding};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use ws_api::names::WorkspaceName;

use crate::error::Error;

const RECORD: &str = "record.json";
const PROJECT: &str = "project";
const KEY: &str = "key";
const BASELINE: &str = "baseline";
const PULLED: &str = "pulled";
const PATCH: &str = "changes.patch";

/// How long a workspace is remembered that ended without this machine noticing.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// The folder of everything that this machine remembers.
#[derive(Clone, Debug)]
pub struct State {
    workspaces: PathBuf,
}

/// What identifies a workspace.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// URL of the API server: contexts are renamed, URLs hardly ever.
    pub server: String,
}

/// The folder of one workspace.
#[derive(Clone, Debug)]
pub struct Memory {
    folder: PathBuf,
    pub record: Record,
    pub project: PathBuf,
}

impl State {
    /// The state folder of this user.
    pub fn open() -> Result<Self, Error> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .ok_or_else(|| {
                Error::user("there is no folder to remember workspaces in")
                    .hinted("set HOME or XDG_STATE_HOME")
            })?;
        Ok(Self { workspaces: base.join("ws/workspaces") })
    }

    /// One in a folder of a test's own.
    #[cfg(test)]
    pub fn in_folder(folder: &Path) -> Self {
        Self { workspaces: folder.join("ws/workspaces") }
    }

    /// Remembers a workspace that was just made.
    pub fn remember(&self, record: Record, project: &Path, key: &PrivateKey) -> Result<Memory, Error> {
        self.prune();
        let memory = Memory { folder: self.folder(&record.uid)?, record, project: project.to_owned() };
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&memory.folder)?;
            let pem = key.to_openssh(LineEnding::LF).map_err(io::Error::other)?;
            memory.write(KEY, pem.as_bytes())?;
            memory.write(PROJECT, project.as_os_str().as_bytes())?;
            memory.write(RECORD, &serde_json::to_vec(&memory.record)?)
        };
        write().map_err(|error| unwritable(&memory.folder, &error))?;
        Ok(memory)
    }

    /// Every workspace of this machine that is remembered, whether or not it still is.
    pub fn all(&self) -> Vec<Memory> {
        let folders = fs::read_dir(&self.workspaces).into_iter().flatten().flatten();
        let mut all: Vec<_> = folders.filter_map(|folder| Memory::read(folder.path())).collect();
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        all
    }

    /// What is remembered of the workspace with this UID.
    pub fn find(&self, uid: &str) -> Option<Memory> {
        Memory::read(self.folder(uid).ok()?)
    }

    /// The folder of a workspace. A UID comes from a cluster, so it is checked before it becomes a path.
    fn folder(&self, uid: &str) -> Result<PathBuf, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if uid.is_empty() || uid.len() > 64 || !uid.chars().all(plain) {
            return Err(Error::user("the cluster gave the workspace an invalid UID"));
        }
        Ok(self.workspaces.join(uid))
    }

    /// Forgets what is too old to be of a living workspace.
    fn prune(&self) {
        let now = SystemTime::now();
        for memory in self.all() {
            let age = fs::metadata(&memory.folder).and_then(|folder| folder.modified()).ok();
            let old =
                age.and_then(|modified| now.duration_since(modified).ok()).is_some_and(|age| age > KEEP);
            if old {
                memory.forget();
            }
        }
    }
}

impl Memory {
    fn read(folder: PathBuf) -> Option<Self> {
        let record: Record = serde_json::from_slice(&fs::read(folder.join(RECORD)).ok()?).ok()?;
        let project = PathBuf::from(OsString::from_vec(fs::read(folder.join(PROJECT)).ok()?));
        // A record's name is shown and asked for: it is checked like one that a user types.
        record.name.parse::<WorkspaceName>().ok()?;
        Some(Self { folder, record, project })
    }

    /// The session's private key.
    pub fn key(&self) -> Option<PrivateKey> {
        PrivateKey::from_openssh(fs::read(self.folder.join(KEY)).ok()?).ok()
    }

    /// The manifest of what the workspace received, or nothing if it never confirmed.
    pub fn baseline(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.join(BASELINE)).ok()
    }

    /// Keeps the manifest of what the workspace confirmed to have received.
    pub fn keep_baseline(&self, manifest: &[u8]) -> Result<(), Error> {
        self.write(BASELINE, manifest).map_err(|error| unwritable(&self.folder, &error))
    }

    /// The manifest of what was pulled into the project, over all pulls.
    pub fn pulled(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.join(PULLED)).ok()
    }

    /// Keeps the manifest of what was pulled.
    pub fn keep_pulled(&self, manifest: &[u8]) -> Result<(), Error> {
        self.write(PULLED, manifest).map_err(|error| unwritable(&self.folder, &error))
    }

    /// Where the changes of an ended workspace are kept.
    pub fn patch(&self) -> PathBuf {
        self.folder.join(PATCH)
    }

    /// A file for a patch that may be kept; gone again if it is not.
    pub fn draft(&self) -> Result<NamedTempFile, Error> {
        NamedTempFile::new_in(&self.folder).map_err(|error| unwritable(&self.folder, &error))
    }

    /// Keeps the changes of a workspace that ends: they are nowhere else, so they outlive a power cut.
    pub fn keep_patch(&self, draft: NamedTempFile) -> Result<PathBuf, Error> {
        let kept = draft.as_file().sync_all().and_then(|()| Ok(draft.persist(self.patch())?));
        kept.map_err(|error| unwritable(&self.folder, &error))?;
        Ok(self.patch())
    }

    /// Removes a patch that was kept before, when there is nothing to keep any more.
    pub fn drop_patch(&self) {
        drop(fs::remove_file(self.patch()));
    }

    /// Forgets a workspace that is gone. A saved patch stays, with the name of what it belongs to.
    pub fn forget(&self) {
        for file in [KEY, BASELINE, PULLED] {
            drop(fs::remove_file(self.folder.join(file)));
        }
        if !self.patch().exists() {
            drop(fs::remove_dir_all(&self.folder));
        }
    }

    /// Whether the workspace ended and only its patch is left.
    pub fn is_over(&self) -> bool {
        !self.folder.join(KEY).exists()
    }

    /// Writes a file of this folder, for its user alone, so that it is there whole or not at all, also if this process is
    /// killed or another one writes it too. That it outlives a power cut is not worth the wait.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(self.folder.join(name))?;
        Ok(())
    }
}

fn unwritable(folder: &Path, error: &io::Error) -> Error {
    Error::user(format!("{} cannot be written: {error}", folder.display()))
        .hinted("make the folder writable, or name another one with XDG_STATE_HOME")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use russh::keys::Algorithm;

    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path());
        (folder, state)
    }

    fn record(uid: &str) -> Record {
        Record {
            name: "fix".into(),
            namespace: "team".into(),
            uid: uid.into(),
            server: "https://k:6443".into(),
        }
    }

    fn keep(memory: &Memory) -> PathBuf {
        let mut draft = memory.draft().unwrap();
        draft.write_all(b"diff").unwrap();
        memory.keep_patch(draft).unwrap()
    }

    fn key() -> PrivateKey {
        PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
    }

    #[test]
    fn what_is_remembered_is_found_again_and_only_readable_by_its_user() {
        let (_folder, state) = state();
        let project = PathBuf::from(OsString::from_vec(b"/home/me/\xff".to_vec()));
        let key = key();
        let memory = state.remember(record("u-1"), &project, &key).unwrap();
        memory.keep_baseline(b"manifest").unwrap();

        let found = state.find("u-1").unwrap();
        assert_eq!((found.record.clone(), found.project.clone()), (record("u-1"), project));
        assert_eq!(found.key().unwrap().to_bytes().unwrap(), key.to_bytes().unwrap());
        assert_eq!(found.baseline().unwrap(), b"manifest");
        for name in [KEY, RECORD, BASELINE] {
            assert_eq!(fs::metadata(found.folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn forgetting_leaves_nothing_but_a_patch() {
        let (_folder, state) = state();
        let memory = state.remember(record("u-1"), Path::new("/p"), &key()).unwrap();
        memory.forget();
        assert!(state.all().is_empty());

        let memory = state.remember(record("u-2"), Path::new("/p"), &key()).unwrap();
        let patch = keep(&memory);
        memory.forget();
        assert_eq!(fs::read(patch).unwrap(), b"diff");
        assert!(state.find("u-2").unwrap().is_over());
    }

    #[test]
    fn what_is_old_is_forgotten_but_for_its_patch() {
        let (_folder, state) = state();
        for (uid, old) in [("old", true), ("kept", true), ("new", false)] {
            let memory = state.remember(record(uid), Path::new("/p"), &key()).unwrap();
            if uid == "kept" {
                keep(&memory);
            }
            let modified = SystemTime::now() - if old { 2 * KEEP } else { KEEP / 2 };
            fs::File::open(&memory.folder).unwrap().set_modified(modified).unwrap();
        }
        state.prune();
        assert!(state.find("old").is_none());
        let (kept, new) = (state.find("kept").unwrap(), state.find("new").unwrap());
        assert!(kept.is_over() && kept.patch().exists() && !new.is_over());
    }

    #[test]
    fn a_uid_that_is_a_path_is_refused() {
        let (_folder, state) = state();
        for uid in ["", "../x", "a/b", ".", &"a".repeat(65)] {
            assert!(state.remember(record(uid), Path::new("/p"), &key()).is_err(), "{uid}");
        }
    }
}
