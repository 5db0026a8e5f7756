//! Bringing changes into the project.

use std::{collections::BTreeSet, path::Path};

use serde::Serialize;
use ws_tree::{ApplyError, Change, ChangeSet, TreePath, apply, apply::Refusal};

use super::{
    classes::{Class, Classifier},
    difference::shown_path,
    left::{Left, left_there},
    open,
};
use crate::error::{Error, chain};

/// Paths that are listed one by one.
const LISTED: usize = 20;

/// What a pull did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pulled {
    /// Written or removed.
    pub applied: Vec<String>,
    /// Not applied because nobody named them.
    pub held_back: Vec<HeldBack>,
    /// Folders that the workspace removed and that hold something here.
    pub kept_folders: Vec<String>,
    /// What the workspace has and cannot be brought back.
    pub unsupported: Vec<Left>,
    /// Files that changed while the workspace read them.
    pub altered: Vec<String>,
}

/// A path that stays in the workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldBack {
    pub path: String,
    pub reason: String,
    /// Whether naming it applies it.
    pub can_include: bool,
}

/// Applies the safe changes and those in `include`: all of them, or none.
pub fn pull(project: &Path, set: &ChangeSet, include: &BTreeSet<TreePath>) -> Result<Pulled, Error> {
    let root = open(project)?;
    if let Some(unknown) = include.iter().find(|path| set.changes.iter().all(|change| change.path != **path))
    {
        return Err(Error::user(format!("nothing changed at {unknown}"))
            .hinted("`ws diff --stat` lists what changed"));
    }
    let mut classifier = Classifier::new(&root, &set.changes);
    let mut pulled = Pulled::default();
    let mut chosen: Vec<&Change> = Vec::new();
    for change in &set.changes {
        let named = include.contains(&change.path);
        match classifier.classify(change) {
            Class::Safe => chosen.push(change),
            Class::RunsHere(_) | Class::OddName(_) if named => chosen.push(change),
            Class::Never(reason) if named => {
                return Err(Error::user(format!("{} cannot be included: {reason}", change.path)));
            }
            class @ (Class::RunsHere(_) | Class::OddName(_) | Class::Never(_)) => {
                pulled.held_back.push(held_back(change, &class));
            }
        }
    }
    let applied = apply(&root, set, &chosen).map_err(|error| refused(&error))?;
    pulled.applied = applied.done.iter().map(shown_path).collect();
    pulled.kept_folders = applied.kept_folders.iter().map(shown_path).collect();
    pulled.altered = set.altered.iter().map(shown_path).collect();
    pulled.unsupported = left_there(set);
    Ok(pulled)
}

impl Pulled {
    /// What to tell the user; paths are escaped.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.applied.len() {
            0 => lines.push("nothing was applied".to_owned()),
            1 => lines.push("1 path was changed:".to_owned()),
            count => lines.push(format!("{count} paths were changed:")),
        }
        list(&mut lines, self.applied.iter().cloned());
        let reason = |held: &HeldBack| format!("{} ({})", held.path, held.reason);
        if !self.held_back.is_empty() {
            lines.push(
                "left in the workspace, because they would act on your machine by themselves:".to_owned(),
            );
            list(&mut lines, self.held_back.iter().map(reason));
            lines.push("look at them with `ws diff` and apply one with `ws pull --include PATH`".to_owned());
        }
        if !self.unsupported.is_empty() {
            lines.push("cannot be brought back:".to_owned());
            list(&mut lines, self.unsupported.iter().map(ToString::to_string));
        }
        lines.extend(
            self.kept_folders.iter().map(|path| format!("kept, because something else is in it: {path}")),
        );
        lines
            .extend(self.altered.iter().map(|path| format!("changed while it was read, pull again: {path}")));
        lines
    }
}

fn list(lines: &mut Vec<String>, items: impl ExactSizeIterator<Item = String>) {
    let more = items.len().saturating_sub(LISTED);
    lines.extend(items.take(LISTED).map(|item| format!("  {item}")));
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
}

fn held_back(change: &Change, class: &Class) -> HeldBack {
    HeldBack {
        path: shown_path(&change.path),
        reason: class.objection().unwrap_or_default().to_owned(),
        can_include: !matches!(class, Class::Never(_)),
    }
}

fn refused(error: &ApplyError) -> Error {
    let message = Error::user(format!("nothing was pulled: {}", chain(error)));
    match error {
        ApplyError::Conflicts(paths) => {
            let listed: Vec<_> = paths.iter().take(LISTED).map(ToString::to_string).collect();
            message.hinted(format!("move your own changes away and pull again: {}", listed.join(", ")))
        }
        ApplyError::Refused { refusal: Refusal::LinkedFolder, .. } => message
            .hinted("ws does not write through links; put a real folder in its place, or change it by hand"),
        ApplyError::Refused { refusal: Refusal::Git | Refusal::OutsideLink, .. } => {
            message.hinted("`ws diff` shows the change; make it by hand if you want it")
        }
        ApplyError::Stage(_) | ApplyError::Failed { .. } => {
            message.hinted("check space and permissions in the project")
        }
        ApplyError::NotUndone { folder, .. } => message.hinted(format!(
            "compare the project with what is in {folder}, and remove that folder afterwards"
        )),
    }
}
