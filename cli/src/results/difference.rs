//! What changed, for people and for programs.

use std::{io, path::Path};

use serde::Serialize;
use ws_tree::{
    Change, ChangeSet, Confined, Entry, TreePath,
    apply::{Standing, standing},
};

use super::{
    classes::{Class, Classifier},
    hunks::{counts, hunks, is_text},
    open,
    patch::{Reader, write},
    sides::{Old, Sides},
};
use crate::error::{Error, chain};

/// Widest bar of `+` and `-` in a summary.
const BAR: usize = 40;

/// The changes of a workspace beside the project they were made to.
pub struct Difference<'a> {
    root: Confined,
    set: &'a ChangeSet,
    changes: Vec<(&'a Change, Class)>,
}

/// One change in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub path: String,
    pub status: Status,
    #[serde(flatten)]
    pub class: Class,
    /// The file was edited here, too, since it was uploaded.
    pub changed_here: bool,
    pub size: Size,
}

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    Added,
    Modified,
    Removed,
}

/// How much a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Size {
    Lines { insertions: usize, deletions: usize },
    Bytes { before: u64, after: u64 },
    Folder {},
}

/// Prepares what the workspace has and the project does not: changes that were pulled are none any more.
pub fn diff<'a>(project: &Path, set: &'a ChangeSet) -> Result<Difference<'a>, Error> {
    let root = open(project)?;
    let mut classifier = Classifier::new(&root, &set.changes);
    let mut changes = Vec::new();
    for change in &set.changes {
        if standing(&root, change).map_err(|error| incomparable(change, &error))? != Standing::Now {
            changes.push((change, classifier.classify(change)));
        }
    }
    Ok(Difference { root, set, changes })
}

impl Difference<'_> {
    /// Whether the project has everything that the workspace has.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Every change in numbers, by path.
    pub fn summary(&self) -> Result<Vec<Summary>, Error> {
        let summary = |(change, class): &(&Change, Class)| {
            let sides = self.load(change)?;
            Ok(Summary {
                path: shown_path(&change.path),
                status: status(change),
                class: class.clone(),
                changed_here: sides.old == Old::Lost,
                size: size(change, &sides),
            })
        };
        self.changes.iter().map(summary).collect()
    }

    /// The summary as lines, escaped: `path | 12 +++---`.
    pub fn stat(&self) -> Result<Vec<String>, Error> {
        let summaries = self.summary()?;
        let width = summaries.iter().map(|summary| summary.path.chars().count()).max().unwrap_or_default();
        let most = summaries.iter().map(|summary| lines_changed(summary.size)).max().unwrap_or_default();
        Ok(summaries.iter().map(|summary| stat_line(summary, width, most)).collect())
    }

    /// All changes as a unified diff, escaped for a terminal; each with what keeps it from being applied.
    pub fn text(&self) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        for (change, class) in &self.changes {
            let sides = self.load(change)?;
            if let Some(objection) = class.objection() {
                lines.push(format!("! {}: {objection}", change.path));
            }
            let old = match &sides.old {
                Old::Nothing => None,
                Old::Here(old) => Some(old),
                Old::Lost => {
                    lines.push(format!("! {}: changed here since it was uploaded; shown whole", change.path));
                    None
                }
            };
            let mut shown = Vec::new();
            if old.is_some() || sides.new.is_some() {
                write(&mut shown, Reader::Screen, change.path.as_bytes(), old, sides.new.as_ref());
            } else {
                shown = format!("{}: {}\n", folder_or_removal(change), change.path).into_bytes();
            }
            lines.extend(String::from_utf8_lossy(&shown).lines().map(str::to_owned));
        }
        Ok(lines)
    }

    /// All changes as a patch, byte for byte as `git apply` takes it. A file that was edited here meanwhile is in it as
    /// a new file, which `git apply` refuses.
    pub fn patch(&self) -> Result<Vec<u8>, Error> {
        let mut patch = Vec::new();
        for (change, _) in &self.changes {
            let sides = self.load(change)?;
            let old = if let Old::Here(old) = &sides.old { Some(old) } else { None };
            if old.is_some() || sides.new.is_some() {
                write(&mut patch, Reader::Git, change.path.as_bytes(), old, sides.new.as_ref());
            }
        }
        Ok(patch)
    }

    fn load(&self, change: &Change) -> Result<Sides, Error> {
        Sides::load(&self.root, self.set, change).map_err(|error| incomparable(change, &error))
    }
}

fn incomparable(change: &Change, error: &io::Error) -> Error {
    Error::user(format!("{} could not be compared: {}", change.path, chain(error)))
}

/// A path for people and for JSON: never a character that acts on a terminal.
pub fn shown_path(path: &TreePath) -> String {
    path.to_string()
}

fn status(change: &Change) -> Status {
    match (&change.base, &change.now) {
        (None, _) => Status::Added,
        (Some(_), None) => Status::Removed,
        (Some(_), Some(_)) => Status::Modified,
    }
}

fn folder_or_removal(change: &Change) -> &'static str {
    match (&change.base, &change.now) {
        (_, Some(Entry::Directory)) => "new folder",
        (Some(Entry::Directory), _) => "removed folder",
        _ => "removed",
    }
}

fn size(change: &Change, sides: &Sides) -> Size {
    let old = if let Old::Here(old) = &sides.old { Some(old.content.as_slice()) } else { None };
    let new = sides.new.as_ref().map(|new| new.content.as_slice());
    if old.is_none() && new.is_none() {
        let before = if let Some(Entry::File(file)) = &change.base { Some(file.size) } else { None };
        return before.map_or(Size::Folder {}, |before| Size::Bytes { before, after: 0 });
    }
    if [old, new].into_iter().flatten().all(is_text) {
        let (insertions, deletions) = counts(&hunks(old.unwrap_or_default(), new.unwrap_or_default()));
        return Size::Lines { insertions, deletions };
    }
    let length = |content: Option<&[u8]>| content.map_or(0, |content| content.len() as u64);
    Size::Bytes { before: length(old), after: length(new) }
}

fn lines_changed(size: Size) -> usize {
    match size {
        Size::Lines { insertions, deletions } => insertions.saturating_add(deletions),
        Size::Bytes { .. } | Size::Folder {} => 0,
    }
}

fn stat_line(summary: &Summary, width: usize, most: usize) -> String {
    let amount = match summary.size {
        Size::Lines { insertions, deletions } => {
            let scaled = |count: usize| if most > BAR { (count * BAR).div_ceil(most) } else { count };
            let bar = "+".repeat(scaled(insertions)) + &"-".repeat(scaled(deletions));
            format!("{} {bar}", insertions + deletions)
        }
        Size::Bytes { before, after } => format!("binary {before} -> {after} bytes"),
        Size::Folder {} => "folder".to_owned(),
    };
    let status = match summary.status {
        Status::Added => "new ",
        Status::Modified => "",
        Status::Removed => "gone ",
    };
    let padding = " ".repeat(width.saturating_sub(summary.path.chars().count()));
    let mut line = format!("{}{padding} | {status}{}", summary.path, amount.trim_end());
    if summary.changed_here {
        line.push_str(" [also changed here]");
    }
    if let Some(objection) = summary.class.objection() {
        line.push_str(" [held back: ");
        line.push_str(objection);
        line.push(']');
    }
    line
}
