//! Which files of a folder are the project: what a workspace gets, and nothing else.
//!
//! The project is what the folder's ignore files leave, and what git tracks although a `.gitignore` matches it; never
//! what a `.wsignore` matches, never `.git`, and nothing that looks like a secret unless it is asked for by name.
//! Links are sent as links and never followed; one that leads out of the project stays here.
//!
//! No program is run for this, git least of all: what the configuration of a repository makes git run
//! (`core.fsmonitor`, hooks) was written by whoever wrote the repository.

mod index;
mod repository;
mod secrets;

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use ws_tree::{
    Confined, Source, SourceKind, SpecialKind, TreePath,
    rules::{RuleWarning, Rules},
    walk::{Found, FoundKind, Wanted, walk},
};

use crate::error::{Error, chain};
use repository::Repository;
use secrets::Secret;

/// Names looked at in a project at most.
const WALK_LIMIT: usize = 2_000_000;
/// Left-out paths that are listed one by one.
const LISTED: usize = 20;

/// A project, ready to be sent.
#[derive(Debug)]
pub struct Selection {
    pub root: Confined,
    pub sources: Vec<Source>,
    pub report: Report,
}

/// What the user should know about a selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Left out although no ignore file says so.
    pub left_out: Vec<LeftOut>,
    /// What could not be taken into account.
    pub warnings: Vec<String>,
}

/// A path that is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub path: TreePath,
    pub reason: Reason,
}

/// Why a path is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Secret(Secret),
    Special(SpecialKind),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(secret) => write!(f, "looks like {secret}; `--include` sends it all the same"),
            Self::Special(kind) => kind.fmt(f),
        }
    }
}

impl Report {
    /// What to tell the user, escaped; nothing if there is nothing to tell.
    pub fn lines(&self) -> Vec<String> {
        let line = |left_out: &LeftOut| format!("not sent: {} ({})", left_out.path, left_out.reason);
        let mut lines: Vec<_> = self.left_out.iter().take(LISTED).map(line).collect();
        if let Some(more) = self.left_out.len().checked_sub(LISTED).filter(|more| *more > 0) {
            lines.push(format!("not sent: {more} more"));
        }
        lines.extend(self.warnings.iter().cloned());
        lines
    }
}

/// The real path of a project's folder; refuses what cannot be a project. Reads nothing in it.
pub fn locate(folder: &Path) -> Result<PathBuf, Error> {
    let folder = real_folder(folder)?;
    let home = std::env::var_os("HOME").map(PathBuf::from).and_then(|home| home.canonicalize().ok());
    refuse_too_much(&folder, home.as_deref())?;
    Ok(folder)
}

/// Selects the project in `folder`. Files in `include` are sent whatever they look like and whatever ignore files say.
pub fn select(folder: &Path, include: &BTreeSet<TreePath>) -> Result<Selection, Error> {
    let folder = locate(folder)?;
    let unreadable = |error: &dyn std::error::Error| {
        Error::user(format!("{} cannot be read: {error}", folder.display())).hinted("check its permissions")
    };
    let root = Confined::open(&folder).map_err(|error| unreadable(&error))?;
    let repository = Repository::read(&folder);
    let mut rules = Rules::new(root.clone()).with_exclude(&repository.exclude);
    let wanted = Wanted { named: include, tracked: &repository.tracked };
    let found = walk(&root, &mut rules, &wanted, WALK_LIMIT).map_err(|error| {
        Error::user(chain(&error)).hinted("run ws in a smaller folder, or leave some out with a .wsignore")
    })?;
    let mut report = Report { left_out: Vec::new(), warnings: repository.warnings };
    for warning in rules.warnings() {
        report.warnings.push(tolerated(warning)?);
    }
    let mut sources = Vec::with_capacity(found.len());
    for found in found {
        match source(found, include) {
            Ok(source) => sources.push(source),
            Err(left_out) => report.left_out.push(left_out),
        }
    }
    for path in include {
        is_sent(path, &sources, &report.left_out)?;
    }
    Ok(Selection { root, sources, report })
}

/// What to say about an ignore file that cannot be used in full. A `.wsignore` is there to keep something on this machine:
/// without it nothing is sent.
fn tolerated(warning: &RuleWarning) -> Result<String, Error> {
    let RuleWarning { file, reason } = warning;
    if file.name() == b".wsignore" {
        return Err(Error::user(format!("nothing was sent, because {file} cannot be used: {reason}"))
            .hinted("make it a readable text file of patterns as in a .gitignore, or remove it"));
    }
    Ok(format!("{file}: not used in full: {reason}"))
}

/// Whoever includes a file counts on it.
fn is_sent(path: &TreePath, sources: &[Source], left_out: &[LeftOut]) -> Result<(), Error> {
    let why =
        match sources.binary_search_by(|source| source.path.cmp(path)).ok().and_then(|at| sources.get(at)) {
            Some(Source { kind: SourceKind::Directory, .. }) => "it is a folder".to_owned(),
            Some(_) => return Ok(()),
            None => left_out.iter().find(|left_out| left_out.path == *path).map_or_else(
                || "the project has no such file".to_owned(),
                |left_out| left_out.reason.to_string(),
            ),
        };
    Err(Error::user(format!("{path} cannot be included: {why}"))
        .hinted("--include takes a file of the project, and can be repeated; nothing in .git is ever sent"))
}

fn source(found: Found, include: &BTreeSet<TreePath>) -> Result<Source, LeftOut> {
    let Found { path, kind } = found;
    if let Some(secret) = secrets::recognise(&path)
        && kind != FoundKind::Directory
        && !include.contains(&path)
    {
        return Err(LeftOut { path, reason: Reason::Secret(secret) });
    }
    let kind = match kind {
        FoundKind::Directory => SourceKind::Directory,
        FoundKind::File(metadata) => SourceKind::File { size: metadata.size },
        FoundKind::Symlink(target) if target.stays_inside(&path) => SourceKind::Symlink(target),
        FoundKind::Symlink(_) => {
            return Err(LeftOut { path, reason: Reason::Special(SpecialKind::OutsideLink) });
        }
        FoundKind::Special(kind) => return Err(LeftOut { path, reason: Reason::Special(kind) }),
    };
    Ok(Source { path, kind })
}

fn real_folder(folder: &Path) -> Result<PathBuf, Error> {
    let refused = |what: String| {
        Error::user(format!("{} {what}", folder.display())).hinted("name the project's folder")
    };
    let real = folder.canonicalize().map_err(|error| refused(format!("cannot be opened: {error}")))?;
    if real.is_dir() { Ok(real) } else { Err(refused("is not a folder".to_owned())) }
}

/// Refuses the root and every folder that holds the home folder: nobody means to send those.
fn refuse_too_much(folder: &Path, home: Option<&Path>) -> Result<(), Error> {
    let what = if folder == Path::new("/") {
        "the root folder"
    } else if home == Some(folder) {
        "your home folder"
    } else if home.is_some_and(|home| home.starts_with(folder)) {
        "the folder that your home folder is in"
    } else {
        return Ok(());
    };
    Err(Error::user(format!("{} is {what}, not a project", folder.display()))
        .hinted("run ws in a project's folder, or name it: ws up PATH"))
}

#[cfg(test)]
mod tests;
