//! Steps, done one after the other and undone in reverse.

use std::io;

use super::check::{holds, is_linked_folder};
use super::stage::Stage;
use super::{ApplyError, Refusal, Step};
use crate::confined::{Confined, FOLDER_MODE};
use crate::entry::Entry;
use crate::path::TreePath;

/// Something that was done and can be undone.
enum Done<'a> {
    /// The path's entry is in the staging folder under this name.
    Removed(&'a TreePath, Vec<u8>),
    RemovedFolder(&'a TreePath),
    MadeFolder(TreePath),
    /// The path holds what the staging folder had under this name.
    Created(&'a Step<'a>, Vec<u8>),
    /// The path and this name of the staging folder have each other's entry.
    Swapped(&'a Step<'a>, Vec<u8>),
}

pub(super) struct Journal<'a> {
    root: &'a Confined,
    stage: &'a Stage,
    done: Vec<Done<'a>>,
}

impl<'a> Journal<'a> {
    pub(super) fn new(root: &'a Confined, stage: &'a Stage) -> Self {
        Self { root, stage, done: Vec::new() }
    }

    /// Does every step; returns the removed folders that are not empty here and therefore stay.
    pub(super) fn run(&mut self, steps: &'a [Step<'a>]) -> Result<Vec<TreePath>, ApplyError> {
        let mut kept = Vec::new();
        let numbered: Vec<_> = steps.iter().enumerate().collect();
        // What is in a folder goes before the folder, and everything goes before something takes its place.
        for (number, step) in numbered.iter().rev().filter(|(_, step)| step.is_removal()) {
            if !self.remove(*number, step)? {
                kept.push(step.change.path.clone());
            }
        }
        for (number, step) in numbered {
            match &step.change.now {
                None => {}
                Some(Entry::Directory) => self.make_folder(&step.change.path)?,
                Some(Entry::File(_) | Entry::Symlink(_)) => self.put(number, step)?,
            }
        }
        Ok(kept)
    }

    fn remove(&mut self, number: usize, step: &'a Step<'a>) -> Result<bool, ApplyError> {
        let path = &step.change.path;
        if step.before != Some(&Entry::Directory) {
            self.set_aside(path, &old_name(number), step.before)?;
            return Ok(true);
        }
        let removed = self.root.parent_of(path).and_then(|folder| folder.remove_dir(path.name()));
        match removed {
            Ok(()) => {
                self.done.push(Done::RemovedFolder(path));
                Ok(true)
            }
            Err(error) if step.change.now.is_none() && error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Ok(false)
            }
            Err(error) => Err(failed(path, error)),
        }
    }

    /// Moves what stands at a path to the staging folder and checks that it is what the baseline says.
    fn set_aside(
        &mut self,
        path: &'a TreePath,
        aside: &[u8],
        base: Option<&Entry>,
    ) -> Result<(), ApplyError> {
        let moved = self
            .root
            .parent_of(path)
            .and_then(|folder| folder.rename_new(path.name(), self.stage.dir(), aside));
        moved.map_err(|error| failed(path, error))?;
        self.done.push(Done::Removed(path, aside.to_vec()));
        self.check_base(path, aside, base)
    }

    fn check_base(&self, path: &TreePath, staged: &[u8], base: Option<&Entry>) -> Result<(), ApplyError> {
        match holds(self.stage.dir(), staged, base) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ApplyError::Conflicts(vec![path.clone()])),
            Err(error) => Err(failed(path, error)),
        }
    }

    /// Makes a folder and those it is in.
    fn make_folder(&mut self, path: &TreePath) -> Result<(), ApplyError> {
        for folder in path.ancestors().chain([path.clone()]) {
            let made =
                self.root.parent_of(&folder).and_then(|above| above.create_dir(folder.name(), FOLDER_MODE));
            match made {
                Ok(()) => self.done.push(Done::MadeFolder(folder)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(path, error)),
            }
        }
        // What exists may be a link or a file; only opening it tells.
        self.root.dir(path.as_bytes()).map_err(|error| failed(path, error))?;
        Ok(())
    }

    fn put(&mut self, number: usize, step: &'a Step<'a>) -> Result<(), ApplyError> {
        let path = &step.change.path;
        let staged = Stage::name(number);
        if let Some(folder) = path.parent() {
            self.make_folder(&folder)?;
        }
        if let Some(Entry::Symlink(target)) = &step.change.now {
            let inside = self.root.leads_inside(path.split().0, target.as_bytes());
            if !inside.map_err(|error| failed(path, error))? {
                return Err(ApplyError::Refused { path: path.clone(), refusal: Refusal::OutsideLink });
            }
        }
        let stands = step.before.is_some() && !step.is_removal();
        if stands && self.swap(step, &staged)? {
            return self.check_base(path, &staged, step.before);
        }
        if stands {
            self.set_aside(path, &old_name(number), step.before)?;
        }
        let created = self
            .root
            .parent_of(path)
            .and_then(|folder| self.stage.dir().rename_new(&staged, &folder, path.name()));
        match created {
            Ok(()) => {
                self.done.push(Done::Created(step, staged));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(ApplyError::Conflicts(vec![path.clone()]))
            }
            Err(error) => Err(failed(path, error)),
        }
    }

    fn swap(&mut self, step: &'a Step<'a>, staged: &[u8]) -> Result<bool, ApplyError> {
        let path = &step.change.path;
        let swapped = self
            .root
            .parent_of(path)
            .and_then(|folder| self.stage.dir().exchange(staged, &folder, path.name()));
        let swapped = swapped.map_err(|error| failed(path, error))?;
        if swapped {
            self.done.push(Done::Swapped(step, staged.to_vec()));
        }
        Ok(swapped)
    }

    /// Undoes everything. What cannot be undone stays in the staging folder, and the rest is undone all the same.
    pub(super) fn undo(&mut self) -> Result<(), ApplyError> {
        let (mut left, mut failures) = (Vec::new(), Vec::new());
        while let Some(done) = self.done.pop() {
            if let Err(error) = self.undo_one(&done) {
                left.push(done.path().clone());
                failures.push(error);
            }
        }
        match failures.into_iter().next() {
            None => Ok(()),
            Some(source) => {
                Err(ApplyError::NotUndone { paths: left, folder: self.stage.path().clone(), source })
            }
        }
    }

    fn undo_one(&self, done: &Done<'_>) -> io::Result<()> {
        let stage = self.stage.dir();
        let path = done.path();
        let folder = self.root.parent_of(path)?;
        match done {
            Done::Removed(_, aside) => stage.rename_new(aside, &folder, path.name()),
            Done::RemovedFolder(_) => match folder.create_dir(path.name(), FOLDER_MODE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made,
            },
            Done::MadeFolder(_) => match folder.remove_dir(path.name()) {
                // Somebody uses the new folder already.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed,
            },
            Done::Created(step, staged) => match folder.rename_new(path.name(), stage, staged) {
                // Somebody removed it already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Ok(()) if !holds(stage, staged, step.change.now.as_ref())? => {
                    // Somebody saved it meanwhile: that is theirs and stays.
                    stage.rename_new(staged, &folder, path.name())
                }
                taken => taken,
            },
            Done::Swapped(step, staged) => {
                stage.exchange(staged, &folder, path.name())?;
                if holds(stage, staged, step.change.now.as_ref())? {
                    return Ok(());
                }
                // Somebody saved it meanwhile, which would have replaced the old content without a pull, too.
                stage.exchange(staged, &folder, path.name())?;
                if holds(stage, staged, step.before)? {
                    return Ok(());
                }
                Err(io::Error::other("it was written twice meanwhile"))
            }
        }
    }
}

impl Done<'_> {
    fn path(&self) -> &TreePath {
        match self {
            Self::Removed(path, _) | Self::RemovedFolder(path) => path,
            Self::MadeFolder(path) => path,
            Self::Created(step, _) | Self::Swapped(step, _) => &step.change.path,
        }
    }
}

fn old_name(number: usize) -> Vec<u8> {
    format!("{number}.old").into_bytes()
}

fn failed(path: &TreePath, source: io::Error) -> ApplyError {
    let path = path.clone();
    if is_linked_folder(&source) {
        ApplyError::Refused { path, refusal: Refusal::LinkedFolder }
    } else {
        ApplyError::Failed { path, source }
    }
}

#[cfg(test)]
mod tests;
