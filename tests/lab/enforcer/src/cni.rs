//! Watches libcni's result cache, the folder that tells which pod has which link.

use std::{
    fs, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use ipnet::Ipv4Net;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::sync::watch;
use tracing::warn;

use crate::link::Link;

/// The results of one machine, narrowed to one bridge.
#[derive(Debug)]
pub(crate) struct Results {
    folder: PathBuf,
    bridge: String,
    network: Ipv4Net,
    changes: watch::Receiver<()>,
}

impl Results {
    /// Begins to watch `folder`, which is made if it is not there yet.
    pub(crate) fn watch(folder: PathBuf, bridge: &str, network: Ipv4Net) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
        let events = inotify::init(CreateFlags::CLOEXEC).context("inotify")?;
        let of_interest =
            WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        inotify::add_watch(&events, &folder, of_interest)
            .with_context(|| format!("could not watch {}", folder.display()))?;
        let (told, changes) = watch::channel(());
        thread::Builder::new().name("cni-results".to_owned()).spawn(move || tell(&events, &told))?;
        Ok(Self { folder, bridge: bridge.to_owned(), network, changes })
    }

    /// Waits for the next change; an error when there can be none any more.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<()> {
        self.changes.changed().await.context("the folder of CNI results is gone")
    }

    /// All links of the pods on the bridge. A file that cannot be understood is left out: its pod stays mute.
    pub(crate) fn links(&self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            links.extend(self.link(&entry?.path()));
        }
        Ok(links)
    }

    fn link(&self, path: &Path) -> Option<Link> {
        // It may be gone by now, or so new that nothing is in it yet.
        let file = fs::read(path).ok().filter(|file| !file.is_empty())?;
        Link::from_cache(&file, &self.bridge, self.network).unwrap_or_else(|error| {
            warn!(path = %path.display(), "unreadable CNI result: {error}");
            None
        })
    }
}

/// Tells of every event until the folder or whoever listens is gone.
///
/// A thread of its own, because the only safe way to read inotify is to block.
fn tell(events: &OwnedFd, told: &watch::Sender<()>) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(events, &mut buffer);
    while let Ok(event) = events.next() {
        if event.events().contains(ReadFlags::IGNORED) || told.send(()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn every_change_of_the_folder_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let mut results = Results::watch(path.clone(), "cni0", "10.90.0.0/16".parse().unwrap()).unwrap();
        let mut told = async || timeout(Duration::from_millis(200), results.changed()).await;
        assert!(told().await.is_err(), "nothing happened yet");
        fs::write(path.join("a"), "{").unwrap();
        told().await.unwrap().unwrap();
        assert!(told().await.is_err(), "told twice");
        fs::remove_file(path.join("a")).unwrap();
        told().await.unwrap().unwrap();
        fs::remove_dir(&path).unwrap();
        assert!(told().await.unwrap().is_err(), "the folder is gone");
    }
}
