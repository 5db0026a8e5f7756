//! What a workspace changed, on its way to a person and to the project.
//!
//! Everything here is computed on the laptop from contents whose digests were checked; the pod's word counts for
//! nothing but the contents themselves. Changes that would run on the laptop by themselves are marked, and applied only
//! by name ([`classes`]).

mod binary;
mod classes;
mod collisions;
mod difference;
mod git_path;
mod hunks;
mod left;
mod patch;
mod pull;
mod rules;
mod sides;
mod unpulled;

pub use difference::{Difference, diff};
pub use left::Left;
#[cfg(test)]
pub use pull::Pulled;
pub use pull::pull;
pub use unpulled::{Unpulled, unpulled_patch};

use std::path::Path;

use ws_tree::Confined;

use crate::error::Error;

fn open(project: &Path) -> Result<Confined, Error> {
    Confined::open(project).map_err(|error| {
        Error::user(format!("the project's folder {} cannot be opened: {error}", project.display()))
            .hinted("was it moved or removed?")
    })
}

#[cfg(test)]
mod tests;
