//! What a workspace has and the project will not get, or not as it should be.

use std::fmt;

use serde::Serialize;
use ws_tree::{ChangeSet, TreePath};

/// A path that stays in the workspace, or does not come as it should. `Display` is escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    pub path: String,
    pub reason: String,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path, self.reason)
    }
}

/// What no pull and no patch brings.
pub fn left_there(set: &ChangeSet) -> Vec<Left> {
    let unsupported = set
        .unsupported
        .iter()
        .map(|unsupported| Left { path: unsupported.path.to_string(), reason: unsupported.kind.to_string() });
    let reverted = set.reverted.iter().map(|path| Left {
        path: path.to_string(),
        reason: "no longer changed in the workspace; what was pulled of it is still here".to_owned(),
    });
    unsupported.chain(reverted).collect()
}

/// A file that changed while the workspace read it.
pub fn altered(path: &TreePath) -> Left {
    Left {
        path: path.to_string(),
        reason: "changed while it was read: perhaps neither the old content nor the new".to_owned(),
    }
}
