//! What was pulled before, so that a workspace that is worked in further can be pulled from again.
//!
//! A file that was pulled is no longer what was sent, and a change of it would be taken for a conflict. But what was
//! brought from the workspace can be replaced from there without a loss, as long as nobody touched it here.

use std::{io, path::Path};

use ws_tree::{
    Change, ChangeSet, Confined, Limits, Manifest,
    apply::{Standing, standing},
};

use crate::{
    error::{Error, chain},
    state::Memory,
};

/// Makes what was pulled before the base of what changed since, where the project still has it.
pub fn rebase(set: &mut ChangeSet, memory: &Memory) -> Result<(), Error> {
    let Some(pulled) = read(memory)? else { return Ok(()) };
    onto(set, &memory.project, &pulled).map_err(|error| unreadable(&error))
}

/// Remembers which of the workspace's changes the project has by now.
pub fn remember(set: &ChangeSet, memory: &Memory) -> Result<(), Error> {
    let before = read(memory)?.unwrap_or_default();
    let now = merged(set, &memory.project, &before).map_err(|error| unreadable(&error))?;
    memory.keep_pulled(&now.encode())
}

fn read(memory: &Memory) -> Result<Option<Manifest>, Error> {
    let Some(bytes) = memory.pulled() else { return Ok(None) };
    Manifest::decode(bytes.as_slice(), &Limits::PROJECT).map(Some).map_err(|error| unreadable(&error))
}

fn onto(set: &mut ChangeSet, project: &Path, pulled: &Manifest) -> io::Result<()> {
    let root = Confined::open(project)?;
    for change in &mut set.changes {
        let Some(entry) = pulled.get(&change.path).filter(|entry| change.now.as_ref() != Some(*entry)) else {
            continue;
        };
        let rebased = Change { base: Some(entry.clone()), ..change.clone() };
        if standing(&root, &rebased)? == Standing::Base {
            *change = rebased;
        }
    }
    Ok(())
}

fn merged(set: &ChangeSet, project: &Path, before: &Manifest) -> io::Result<Manifest> {
    let root = Confined::open(project)?;
    let mut entries: Vec<_> = before.iter().map(|(path, entry)| (path.clone(), entry.clone())).collect();
    for change in &set.changes {
        if let Some(now) = &change.now
            && standing(&root, change)? == Standing::Now
        {
            entries.push((change.path.clone(), now.clone()));
        }
    }
    Ok(entries.into_iter().collect())
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::user(format!("what was pulled before cannot be read: {}", chain(error)))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use ws_tree::{Received, SendOptions, compare, receive, receive_changes, send, send_changes};

    use super::*;
    use crate::{project::select, results};

    struct Pair {
        laptop: tempfile::TempDir,
        pod: tempfile::TempDir,
        base: Received,
        pulled: Manifest,
    }

    impl Pair {
        fn begin() -> Self {
            let (laptop, pod) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::write(laptop.path().join("file"), "sent").unwrap();
            let selection = select(laptop.path(), &BTreeSet::new()).unwrap();
            let mut stream = Vec::new();
            send(&selection.root, &selection.sources, &mut stream, &SendOptions::default()).unwrap();
            let folder = Confined::open(pod.path()).unwrap();
            let base = receive(stream.as_slice(), &folder, &Limits::PROJECT).unwrap();
            Self { laptop, pod, base, pulled: Manifest::default() }
        }

        fn pull(&mut self) -> Result<(), Error> {
            let pod = Confined::open(self.pod.path()).unwrap();
            let changes = compare(&self.base, &pod, &Limits::CHANGES).unwrap();
            let mut stream = Vec::new();
            send_changes(&pod, &changes, &mut stream, &SendOptions::default()).unwrap();
            let spool = tempfile::tempfile().unwrap();
            let manifest = Some(&self.base.manifest);
            let mut set = receive_changes(stream.as_slice(), manifest, spool, &Limits::CHANGES).unwrap();
            onto(&mut set, self.laptop.path(), &self.pulled).unwrap();
            results::pull(self.laptop.path(), &set, &BTreeSet::new())?;
            self.pulled = merged(&set, self.laptop.path(), &self.pulled).unwrap();
            Ok(())
        }

        fn work(&self, text: &str) {
            for name in ["file", "new"] {
                fs::write(self.pod.path().join(name), text).unwrap();
            }
        }

        fn laptop(&self) -> [String; 2] {
            ["file", "new"].map(|name| fs::read_to_string(self.laptop.path().join(name)).unwrap())
        }
    }

    #[test]
    fn a_workspace_is_pulled_from_again_and_again() {
        let mut pair = Pair::begin();
        for text in ["first", "second", "second", "third"] {
            pair.work(text);
            pair.pull().unwrap();
            assert_eq!(pair.laptop(), [text, text]);
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
        assert_eq!(pair.laptop(), ["first", "mine"]);
    }
}
