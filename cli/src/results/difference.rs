//! What changed, for people and for programs.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use ws_tree::{
    Change, ChangeSet, Confined, Entry, TreePath,
    apply::{Standing, standing},
};

use super::{
    classes::{Class, Classifier},
    hunks::{counts, hunks},
    left::{Left, altered, left_there},
    open,
    patch::{Reader, write},
    sides::{Content, Sides},
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

/// The JSON of `ws diff`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub changes: Vec<Summary>,
    /// What the workspace has and cannot be brought back.
    pub unsupported: Vec<Left>,
    /// Files that changed while the workspace read them.
    pub altered: Vec<String>,
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
        self.changes.is_empty() && self.left_there().is_empty()
    }

    /// What no pull brings.
    pub fn left_there(&self) -> Vec<Left> {
        left_there(self.set)
    }

    /// Everything for programs.
    pub fn report(&self) -> Result<Report, Error> {
        Ok(Report {
            changes: self.summary()?,
            unsupported: self.left_there(),
            altered: self.altered().map(shown_path).collect(),
        })
    }

    /// What a person should know beside the changes, as lines.
    pub fn remarks(&self) -> Vec<String> {
        let left = self.left_there();
        let left = left.iter().map(|left| format!("! cannot be brought back: {left}"));
        left.chain(self.altered().map(|path| format!("! {}", altered(path)))).collect()
    }

    fn altered(&self) -> impl Iterator<Item = &TreePath> {
        self.changes.iter().map(|(change, _)| &change.path).filter(|path| self.set.altered.contains(*path))
    }

    /// Every change in numbers, by path.
    pub fn summary(&self) -> Result<Vec<Summary>, Error> {
        let summary = |(change, class): &(&Change, Class)| {
            let sides = self.load(change)?;
            Ok(Summary {
                path: shown_path(&change.path),
                status: status(change),
                class: class.clone(),
                changed_here: sides.old.is_lost(),
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

    /// Prints all changes as a unified diff, line by line, escaped for a terminal; each with what keeps it from being
    /// applied.
    pub fn text(&self, print: &mut dyn FnMut(&str) -> Result<(), Error>) -> Result<(), Error> {
        for (change, class) in &self.changes {
            let sides = self.load(change)?;
            if let Some(objection) = class.objection() {
                print(&format!("! {}: {objection}", change.path))?;
            }
            if sides.old.is_lost() {
                print(&format!("! {}: changed here since it was uploaded; shown whole", change.path))?;
            }
            let (old, new) = (sides.old.here(), sides.new.as_ref());
            if old.is_none() && new.is_none() {
                print(&format!("{}: {}", folder_or_removal(change), change.path))?;
                continue;
            }
            let mut shown = Vec::new();
            write(&mut shown, Reader::Screen, change.path.as_bytes(), old, new)
                .map_err(|error| incomparable(change, &error))?;
            String::from_utf8_lossy(&shown).lines().try_for_each(&mut *print)?;
        }
        Ok(())
    }

    /// Writes all changes as a patch, byte for byte as `git apply` takes it. A file that was edited here meanwhile is in
    /// it as a new file, which `git apply` refuses.
    pub fn patch(&self, out: &mut dyn Write) -> Result<(), Error> {
        for (change, _) in &self.changes {
            let sides = self.load(change)?;
            let (old, new) = (sides.old.here(), sides.new.as_ref());
            if old.is_some() || new.is_some() {
                write(out, Reader::Git, change.path.as_bytes(), old, new)
                    .map_err(|error| incomparable(change, &error))?;
            }
        }
        Ok(())
    }

    fn load<'s>(&'s self, change: &'s Change) -> Result<Sides<'s>, Error> {
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

fn size(change: &Change, sides: &Sides<'_>) -> Size {
    let old = sides.old.here().map(|old| &old.content);
    let new = sides.new.as_ref().map(|new| &new.content);
    if old.is_none() && new.is_none() {
        let before = if let Some(Entry::File(file)) = &change.base { Some(file.size) } else { None };
        return before.map_or(Size::Folder {}, |before| Size::Bytes { before, after: 0 });
    }
    let nothing = Content::Short(Vec::new());
    let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
    match (old.text(), new.text()) {
        (Some(old), Some(new)) => {
            let (insertions, deletions) = counts(&hunks(old, new));
            Size::Lines { insertions, deletions }
        }
        _ => Size::Bytes { before: old.size(), after: new.size() },
    }
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
