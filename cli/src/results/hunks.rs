//! Lines that differ, with a few around them.

use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

/// Lines shown around a difference.
const CONTEXT: usize = 3;
/// How long a comparison may look for the shortest answer; after that any answer will do.
const PATIENCE: Duration = Duration::from_millis(500);

/// A run of lines in which two contents differ.
#[derive(Debug)]
pub struct Hunk<'a> {
    /// First line, counted from zero, and how many.
    pub old: (usize, usize),
    pub new: (usize, usize),
    /// With their newline, if they have one.
    pub lines: Vec<(Sign, &'a [u8])>,
}

/// On which side a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Both,
    Old,
    New,
}

impl Sign {
    /// As unified diffs write it.
    pub fn byte(self) -> u8 {
        match self {
            Self::Both => b' ',
            Self::Old => b'-',
            Self::New => b'+',
        }
    }
}

/// Where two texts differ.
pub fn hunks<'a>(old: &'a [u8], new: &'a [u8]) -> Vec<Hunk<'a>> {
    let (old, new) = (lines(old), lines(new));
    let deadline = Instant::now().checked_add(PATIENCE);
    let operations = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
    group_diff_ops(operations, CONTEXT).iter().map(|group| hunk(group, &old, &new)).collect()
}

/// How many lines were added and removed.
pub fn counts(hunks: &[Hunk<'_>]) -> (usize, usize) {
    let count =
        |wanted| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|(sign, _)| *sign == wanted).count();
    (count(Sign::New), count(Sign::Old))
}

/// Only a line feed ends a line: a lone carriage return is content, for git as for us.
fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|&byte| byte == b'\n').collect()
}

fn hunk<'a>(group: &[DiffOp], old: &[&'a [u8]], new: &[&'a [u8]]) -> Hunk<'a> {
    let mut hunk = Hunk { old: (0, 0), new: (0, 0), lines: Vec::new() };
    if let (Some(first), Some(last)) = (group.first(), group.last()) {
        let (old_range, new_range) =
            (first.old_range().start..last.old_range().end, first.new_range().start..last.new_range().end);
        hunk.old = (old_range.start, old_range.len());
        hunk.new = (new_range.start, new_range.len());
    }
    for operation in group {
        let removed = old.get(operation.old_range()).unwrap_or_default().iter();
        let added = new.get(operation.new_range()).unwrap_or_default().iter();
        match operation.tag() {
            DiffTag::Equal => hunk.lines.extend(removed.map(|line| (Sign::Both, *line))),
            DiffTag::Delete | DiffTag::Insert | DiffTag::Replace => {
                hunk.lines.extend(removed.map(|line| (Sign::Old, *line)));
                hunk.lines.extend(added.map(|line| (Sign::New, *line)));
            }
        }
    }
    hunk
}
