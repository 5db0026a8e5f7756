//! Changes onto the laptop's disk: all of them or none.
//!
//! New content is written to a staging folder beside the project's files first. Then each path is swapped with its
//! staged successor, and only what came out of the swap is compared with the baseline: a file that was edited at any
//! moment before is found, and everything done so far is undone. Nothing is ever deleted before the end; what is
//! replaced waits in the staging folder, where it stays if the machine dies in between.
//!
//! No version control, no hook and no program is involved, and nothing outside the project can be reached.

mod check;
mod journal;
mod stage;

use std::collections::HashMap;
use std::fmt;
use std::io;

use crate::changes::{Change, ChangeSet};
use crate::confined::Confined;
use crate::entry::Entry;
use crate::path::TreePath;

pub use check::Standing;
use journal::Journal;
use stage::Stage;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Paths that were written or removed.
    pub done: Vec<TreePath>,
    /// Paths that were as they should be before.
    pub already: Vec<TreePath>,
    /// Folders that the workspace removed and that still hold something here.
    pub kept_folders: Vec<TreePath>,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{path}: {refusal}")]
    Refused { path: TreePath, refusal: Refusal },
    #[error("{}", Conflicts(.0))]
    Conflicts(Vec<TreePath>),
    #[error("the changes could not be prepared in the project's folder")]
    Stage(#[source] io::Error),
    #[error("{path} could not be changed; everything was put back")]
    Failed { path: TreePath, source: io::Error },
    #[error("not everything could be put back; what is missing is in the folder {folder}: {}", List(.paths))]
    NotUndone { paths: Vec<TreePath>, folder: TreePath, source: io::Error },
}

/// Why a path is not written, whatever is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("nothing in a git folder is ever taken from a workspace")]
    Git,
    #[error("a link that leads out of the project")]
    OutsideLink,
    #[error("a folder in this path is a link or a file here")]
    LinkedFolder,
}

struct List<'a>(&'a [TreePath]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separators = std::iter::once("").chain(std::iter::repeat(", "));
        self.0.iter().zip(separators).try_for_each(|(path, separator)| write!(f, "{separator}{path}"))
    }
}

struct Conflicts<'a>(&'a [TreePath]);

impl fmt::Display for Conflicts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("nothing conflicts"),
            [path] => write!(f, "{path} changed here since it was uploaded"),
            [path, others @ ..] => {
                write!(f, "{path} and {} more paths changed here since they were uploaded", others.len())
            }
        }
    }
}

/// Applies `chosen` changes of `set` beneath `root`.
///
/// A path whose present content is neither the baseline's nor the new one is a conflict; then nothing is applied and
/// all conflicts are reported. A folder's mode and a replaced file's permissions stay, apart from an executable bit
/// that changed.
pub fn apply(root: &Confined, set: &ChangeSet, chosen: &[&Change]) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    let Some(plan) = plan(root, chosen, &mut applied)? else { return Ok(applied) };
    let stage = Stage::prepare(root, set, &plan)?;
    let mut journal = Journal::new(root, &stage);
    match journal.run(&plan) {
        Ok(kept) => {
            stage.discard();
            applied.done = plan.iter().map(|step| step.change.path.clone()).collect();
            applied.done.retain(|path| !kept.contains(path));
            applied.kept_folders = kept;
            Ok(applied)
        }
        Err(cause) => {
            journal.undo()?;
            stage.discard();
            Err(cause)
        }
    }
}

/// What stands at a change's path at present.
///
/// Where a folder on the way is a link or a file, the project has no such path: something else than what a change
/// would put there, and exactly what a removal leads to.
pub fn standing(root: &Confined, change: &Change) -> io::Result<Standing> {
    match check::standing(root, change, &HashMap::new()) {
        Ok(standing) => Ok(standing),
        Err(ApplyError::Failed { source, .. }) => Err(source),
        Err(_) if change.now.is_none() => Ok(Standing::Now),
        Err(_) => Ok(Standing::Other),
    }
}

/// A change that has something to do.
pub(crate) struct Step<'a> {
    change: &'a Change,
    /// What stands at the path, as far as its kind matters: the baseline's entry.
    before: Option<&'a Entry>,
}

impl Step<'_> {
    /// Whether the path must be empty before anything can be put there: a folder cannot be swapped with a file.
    fn is_removal(&self) -> bool {
        match (self.before, &self.change.now) {
            (Some(_), None) => true,
            (Some(before), Some(now)) => (*before == Entry::Directory) != (*now == Entry::Directory),
            (None, _) => false,
        }
    }
}

fn plan<'a>(
    root: &Confined,
    chosen: &[&'a Change],
    applied: &mut Applied,
) -> Result<Option<Vec<Step<'a>>>, ApplyError> {
    let by_path: HashMap<_, _> = chosen.iter().map(|change| (change.path.as_bytes(), *change)).collect();
    let mut conflicts = Vec::new();
    let mut steps = Vec::new();
    for change in chosen {
        check::refuse(change)?;
        match check::standing(root, change, &by_path)? {
            Standing::Base => steps.push(Step { change, before: change.base.as_ref() }),
            Standing::Now => applied.already.push(change.path.clone()),
            Standing::Other => conflicts.push(change.path.clone()),
        }
    }
    if !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    steps.sort_by(|left, right| left.change.path.cmp(&right.change.path));
    Ok(if steps.is_empty() { None } else { Some(steps) })
}
