//! What was pulled before, so that a workspace that is worked in further can be pulled from again.
//!
//! A file that was pulled is no longer what was sent, and a change of it would be taken for a conflict. But what was
//! brought from the workspace can be replaced from there without a loss, as long as nobody touched it here.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
};

use ws_tree::{
    Change, ChangeSet, Confined, Entry, Limits, Manifest, TreePath,
    apply::{Standing, standing},
    wire::WireError,
};

use crate::{
    error::{Error, chain},
    state::Memory,
};

/// Ignore files of the workspace: what they leave out is not reported.
const IGNORE_FILES: [&[u8]; 2] = [b".gitignore", b".wsignore"];

/// What the project has by now of a workspace's changes, over all pulls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pulled {
    present: Manifest,
    /// What was removed, as it was.
    removed: Manifest,
}

impl Pulled {
    fn read(memory: &Memory) -> Result<Self, Error> {
        let Some(bytes) = memory.pulled() else { return Ok(Self::default()) };
        Self::decode(&bytes).map_err(|error| unreadable(&error))
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let present = Manifest::decode(&mut bytes, &Limits::PROJECT)?;
        Ok(Self { present, removed: Manifest::decode(&mut bytes, &Limits::PROJECT)? })
    }

    fn encode(&self) -> Vec<u8> {
        [self.present.encode(), self.removed.encode()].concat()
    }

    /// Whether a pull wrote or removed a path.
    fn touched(&self, path: &TreePath) -> bool {
        self.present.contains(path) || self.removed.contains(path)
    }

    /// What a pull left at a path that it touched.
    fn left(&self, path: &TreePath) -> Option<&Entry> {
        self.present.get(path)
    }

    fn paths(&self) -> impl Iterator<Item = &TreePath> {
        self.present.iter().chain(&self.removed).map(|(path, _)| path)
    }
}

/// Makes what was pulled before the base of what changed since `base` was uploaded, where the project still has it.
pub fn rebase(set: &mut ChangeSet, base: &Manifest, memory: &Memory) -> Result<(), Error> {
    let pulled = Pulled::read(memory)?;
    onto(set, &memory.project, base, &pulled).map_err(|error| unreadable(&error))
}

/// Remembers which of the workspace's changes the project has by now.
pub fn remember(set: &ChangeSet, memory: &Memory) -> Result<(), Error> {
    let before = Pulled::read(memory)?;
    let now = merged(set, &memory.project, &before).map_err(|error| unreadable(&error))?;
    memory.keep_pulled(&now.encode())
}

fn onto(set: &mut ChangeSet, project: &Path, base: &Manifest, pulled: &Pulled) -> io::Result<()> {
    let root = Confined::open(project)?;
    for change in &mut set.changes {
        let left = pulled.left(&change.path);
        if !pulled.touched(&change.path) || left == change.now.as_ref() {
            continue;
        }
        let rebased = Change { base: left.cloned(), ..change.clone() };
        if standing(&root, &rebased)? == Standing::Base {
            *change = rebased;
        }
    }
    let (undone, reverted) = undone(set, &root, base, pulled)?;
    set.changes.extend(undone);
    set.changes.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    set.reverted = reverted;
    Ok(())
}

/// What the workspace took back after it was pulled: the changes that lead back, and the paths of those whose content
/// only the workspace has.
fn undone(
    set: &ChangeSet,
    root: &Confined,
    base: &Manifest,
    pulled: &Pulled,
) -> io::Result<(Vec<Change>, Vec<TreePath>)> {
    let changed: HashSet<_> = set.changes.iter().map(|change| &change.path).collect();
    let unread: HashSet<_> = set.unsupported.iter().map(|unread| unread.path.as_bytes()).collect();
    let ignoring = set.changes.iter().map(|change| change.path.split());
    let ignoring: HashSet<_> =
        ignoring.filter(|(_, name)| IGNORE_FILES.contains(name)).map(|(folder, _)| folder).collect();
    let (mut undone, mut reverted) = (Vec::new(), Vec::new());
    for path in pulled.paths().filter(|path| !changed.contains(path)) {
        let is_unread = |place: &[u8]| unread.contains(place);
        if is_unread(path.as_bytes()) || path.folders().any(is_unread) {
            continue;
        }
        let back =
            Change { path: path.clone(), base: pulled.left(path).cloned(), now: base.get(path).cloned() };
        if back.base == back.now || standing(root, &back)? != Standing::Base {
            continue;
        }
        // A new file that is not reported any more is gone, unless it is ignored by now.
        let may_be_ignored = back.now.is_none() && path.folders().any(|folder| ignoring.contains(folder));
        if may_be_ignored || matches!(back.now, Some(Entry::File(_))) {
            reverted.push(back.path);
        } else {
            undone.push(back);
        }
    }
    Ok((undone, reverted))
}

fn merged(set: &ChangeSet, project: &Path, before: &Pulled) -> io::Result<Pulled> {
    let root = Confined::open(project)?;
    let owned = |manifest: &Manifest| -> BTreeMap<_, _> {
        manifest.iter().map(|(path, entry)| (path.clone(), entry.clone())).collect()
    };
    let (mut present, mut removed) = (owned(&before.present), owned(&before.removed));
    for change in &set.changes {
        if standing(&root, change)? != Standing::Now {
            continue;
        }
        let (to, from, entry) = match (&change.now, &change.base) {
            (Some(now), _) => (&mut present, &mut removed, now),
            (None, Some(base)) => (&mut removed, &mut present, base),
            (None, None) => continue,
        };
        from.remove(&change.path);
        to.insert(change.path.clone(), entry.clone());
    }
    Ok(Pulled { present: present.into_iter().collect(), removed: removed.into_iter().collect() })
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::user(format!("what was pulled before cannot be read: {}", chain(error)))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

    use ws_tree::{Received, SendOptions, compare, receive, receive_changes, send, send_changes};

    use super::*;
    use crate::{project::select, results};

    struct Pair {
        laptop: tempfile::TempDir,
        pod: tempfile::TempDir,
        base: Received,
        pulled: Pulled,
    }

    impl Pair {
        fn begin() -> Self {
            let (laptop, pod) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::create_dir(laptop.path().join("folder")).unwrap();
            for name in ["file", "folder/in"] {
                fs::write(laptop.path().join(name), "sent").unwrap();
            }
            symlink("file", laptop.path().join("link")).unwrap();
            let selection = select(laptop.path(), &BTreeSet::new()).unwrap();
            let mut stream = Vec::new();
            send(&selection.root, &selection.sources, &mut stream, &SendOptions::default()).unwrap();
            let folder = Confined::open(pod.path()).unwrap();
            let base = receive(stream.as_slice(), &folder, &Limits::PROJECT).unwrap();
            Self { laptop, pod, base, pulled: Pulled::default() }
        }

        fn pull(&mut self) -> Result<results::Pulled, Error> {
            let pod = Confined::open(self.pod.path()).unwrap();
            let changes = compare(&self.base, &pod, &Limits::CHANGES).unwrap();
            let mut stream = Vec::new();
            send_changes(&pod, &changes, &mut stream, &SendOptions::default()).unwrap();
            let spool = tempfile::tempfile().unwrap();
            let manifest = &self.base.manifest;
            let mut set =
                receive_changes(stream.as_slice(), Some(manifest), spool, &Limits::CHANGES).unwrap();
            onto(&mut set, self.laptop.path(), manifest, &self.pulled).unwrap();
            let pulled = results::pull(self.laptop.path(), &set, &BTreeSet::new())?;
            let merged = merged(&set, self.laptop.path(), &self.pulled).unwrap();
            self.pulled = Pulled::decode(&merged.encode()).unwrap();
            assert_eq!(self.pulled, merged);
            Ok(pulled)
        }

        fn work(&self, text: &str) {
            for name in ["file", "new"] {
                fs::write(self.pod.path().join(name), text).unwrap();
            }
        }

        fn remove(&self, names: &[&str]) {
            for name in names {
                let place = self.pod.path().join(name);
                let removed = fs::remove_file(&place);
                removed.or_else(|_| fs::remove_dir_all(&place)).unwrap();
            }
        }

        /// What the laptop has at these paths; `-` is nothing.
        fn laptop<const N: usize>(&self, names: [&str; N]) -> [String; N] {
            names.map(|name| {
                let place = self.laptop.path().join(name);
                let link = fs::read_link(&place).map(|target| format!("-> {}", target.display()));
                link.or_else(|_| fs::read_to_string(&place)).unwrap_or_else(|_| "-".to_owned())
            })
        }
    }

    const NO_LONGER: &str = "no longer changed in the workspace; what was pulled of it is still here";

    #[test]
    fn a_workspace_is_pulled_from_again_and_again() {
        let mut pair = Pair::begin();
        for text in ["first", "second", "second", "third"] {
            pair.work(text);
            pair.pull().unwrap();
            assert_eq!(pair.laptop(["file", "new"]), [text, text]);
        }
    }

    #[test]
    fn what_was_edited_after_a_pull_is_not_overwritten() {
        let mut pair = Pair::begin();
        pair.work("first");
        pair.pull().unwrap();
        fs::write(pair.laptop.path().join("new"), "mine").unwrap();
        pair.work("second");
        assert!(pair.pull().is_err());
        assert_eq!(pair.laptop(["file", "new"]), ["first", "mine"]);
        pair.remove(&["new"]);
        pair.pull().unwrap();
        assert_eq!(pair.laptop(["file", "new"]), ["second", "mine"]);
    }

    #[test]
    fn what_the_workspace_takes_back_is_taken_back_here() {
        let mut pair = Pair::begin();
        let pod = pair.pod.path().to_owned();
        for _ in 0..2 {
            pair.work("first");
            fs::create_dir(pod.join("made")).unwrap();
            fs::write(pod.join("made/in"), "first").unwrap();
            pair.remove(&["link"]);
            symlink("new", pod.join("link")).unwrap();
            pair.pull().unwrap();
            assert_eq!(pair.laptop(["new", "made/in", "link"]), ["first", "first", "-> new"]);

            pair.remove(&["new", "made", "link"]);
            symlink("file", pod.join("link")).unwrap();
            pair.pull().unwrap();
            assert_eq!(pair.laptop(["new", "made/in", "link"]), ["-", "-", "-> file"]);
            assert!(!pair.laptop.path().join("made").exists());
            assert_eq!(pair.pull().unwrap().applied, [] as [&str; 0]);
        }
    }

    #[test]
    fn content_that_only_the_workspace_has_is_reported_until_it_is_here() {
        let mut pair = Pair::begin();
        pair.work("first");
        pair.pull().unwrap();
        pair.work("sent");
        for _ in 0..2 {
            let pulled = pair.pull().unwrap();
            let reported: Vec<_> = pulled.unsupported.iter().map(ToString::to_string).collect();
            assert_eq!(reported, [format!("file ({NO_LONGER})")]);
            assert_eq!(pair.laptop(["file", "new"]), ["first", "sent"]);
        }
        fs::write(pair.laptop.path().join("file"), "sent").unwrap();
        assert_eq!(pair.pull().unwrap().unsupported, []);
        pair.work("second");
        pair.pull().unwrap();
        assert_eq!(pair.laptop(["file", "new"]), ["second", "second"]);
    }

    #[test]
    fn what_was_removed_by_a_pull_can_come_again() {
        let mut pair = Pair::begin();
        pair.remove(&["file", "folder"]);
        pair.pull().unwrap();
        assert_eq!(pair.laptop(["file", "folder/in"]), ["-", "-"]);
        fs::create_dir(pair.pod.path().join("folder")).unwrap();
        for text in ["other", "another"] {
            fs::write(pair.pod.path().join("file"), text).unwrap();
            fs::write(pair.pod.path().join("folder/in"), text).unwrap();
            pair.pull().unwrap();
            assert_eq!(pair.laptop(["file", "folder/in"]), [text, text]);
        }
    }

    #[test]
    fn what_may_only_be_ignored_by_now_is_not_removed() {
        let mut pair = Pair::begin();
        pair.work("first");
        pair.pull().unwrap();
        fs::write(pair.pod.path().join(".gitignore"), "new\n").unwrap();
        let pulled = pair.pull().unwrap();
        let reported: Vec<_> = pulled.unsupported.iter().map(ToString::to_string).collect();
        assert_eq!(reported, [format!("new ({NO_LONGER})")]);
        assert_eq!(pair.laptop(["new"]), ["first"]);
    }
}
