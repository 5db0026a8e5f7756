//! Where most of too many changes are, so that they can be left out by one line.

use std::collections::HashMap;

use crate::limits::Exceeded;
use crate::path::TreePath;

/// A changed path and what it counts.
pub(super) struct Weighed<'a> {
    pub(super) path: &'a TreePath,
    /// Bytes of content.
    pub(super) size: u64,
    /// Whether nothing was uploaded there.
    pub(super) is_new: bool,
}

#[derive(Default)]
struct Weight {
    total: u64,
    is_new: bool,
}

/// The file or folder that holds more than half of what exceeds a bound: the outermost that is new as a whole, which
/// an ignore file can leave out, else the innermost. Where nothing holds half, the heaviest at the top.
pub(super) fn heaviest<'a>(
    exceeded: Exceeded,
    changes: impl Iterator<Item = Weighed<'a>>,
) -> Option<TreePath> {
    let mut weights: HashMap<&[u8], Weight> = HashMap::new();
    let mut total: u64 = 0;
    for change in changes {
        let weight = match exceeded {
            Exceeded::Bytes(_) => change.size,
            Exceeded::Entries(_) => 1,
            Exceeded::Names(_) => change.path.as_bytes().len() as u64,
            // The path itself is the answer.
            Exceeded::Depth(_) => return None,
        };
        total = total.saturating_add(weight);
        for place in [change.path.as_bytes()].into_iter().chain(change.path.folders()) {
            let at = weights.entry(place).or_default();
            at.total = at.total.saturating_add(weight);
            at.is_new |= change.is_new && place == change.path.as_bytes();
        }
    }
    weights.remove(&b""[..]);
    let heavy = || weights.iter().filter(|(_, weight)| weight.total > total / 2);
    let outermost_new = heavy().filter(|(_, weight)| weight.is_new).min_by_key(|(place, _)| place.len());
    let innermost = || heavy().max_by_key(|(place, _)| place.len());
    let at_the_top = || {
        let top = weights.iter().filter(|(place, _)| !place.contains(&b'/'));
        top.max_by_key(|(place, weight)| (weight.total, std::cmp::Reverse(**place)))
    };
    let (place, _) = outermost_new.or_else(innermost).or_else(at_the_top)?;
    TreePath::parse(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_named_that_holds_most() {
        type Changes<'a> = &'a [(&'a str, u64, bool)];
        const BYTES: Exceeded = Exceeded::Bytes(1);
        const ENTRIES: Exceeded = Exceeded::Entries(1);
        let build =
            [("src/a", 5, true), ("target", 0, true), ("target/d", 0, true), ("target/d/x", 90, true)];
        let spread = [("a/1", 10, true), ("b/1", 11, true), ("c/1", 10, true)];
        let uploaded = [("data/big", 90, false), ("data/small", 1, false), ("new", 3, true)];
        let table: [(Exceeded, Changes<'_>, Option<&str>); 6] = [
            (BYTES, &build, Some("target")),
            (ENTRIES, &build, Some("target")),
            (BYTES, &spread, Some("b")),
            (BYTES, &uploaded, Some("data/big")),
            (Exceeded::Depth(1), &build, None),
            (BYTES, &[], None),
        ];
        for (exceeded, changes, expected) in table {
            let paths: Vec<_> =
                changes.iter().map(|(path, ..)| TreePath::parse(path.as_bytes()).unwrap()).collect();
            let weighed = changes.iter().zip(&paths).map(|((_, size, is_new), path)| Weighed {
                path,
                size: *size,
                is_new: *is_new,
            });
            let found = heaviest(exceeded, weighed).map(|path| path.to_string());
            assert_eq!(found.as_deref(), expected, "{exceeded:?} {changes:?}");
        }
    }
}
