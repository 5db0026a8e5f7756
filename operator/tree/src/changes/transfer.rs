//! Changes onto a stream.

use std::io::Write;

use super::Changes;
use crate::confined::Confined;
use crate::entry::Entry;
use crate::send::{Closing, Item, SendError, SendOptions, Source, SourceKind, Warning, send_items};
use crate::wire::{Body, Located};

/// Sends changes with the contents that the tree has at present.
///
/// Contents are read anew: a file that changed since the comparison is sent as it is, one that is gone is warned about
/// and left out.
pub fn send_changes(
    root: &Confined,
    changes: &Changes,
    output: impl Write + Send,
    options: &SendOptions,
) -> Result<Vec<Warning>, SendError> {
    let mut others = Vec::new();
    let mut sources = Vec::new();
    for change in &changes.list {
        let kind = match &change.now {
            None => {
                others.push(Located {
                    path: change.path.clone(),
                    base: change.base.clone(),
                    body: Body::Removed,
                });
                continue;
            }
            Some(Entry::Directory) => SourceKind::Directory,
            Some(Entry::File(file)) => SourceKind::File { size: file.size },
            Some(Entry::Symlink(target)) => SourceKind::Symlink(target.clone()),
        };
        sources.push((Source { path: change.path.clone(), kind }, change.base.as_ref()));
    }
    for unsupported in &changes.unsupported {
        others.push(Located::new(unsupported.path.clone(), Body::Special(unsupported.kind)));
    }
    let items: Vec<_> = sources.iter().map(|(source, base)| Item { source, base: *base }).collect();
    let closing = Closing::Changes { base: changes.base, others: &others };
    let (_, warnings) = send_items(root, &items, output, options, &closing)?;
    Ok(warnings)
}
