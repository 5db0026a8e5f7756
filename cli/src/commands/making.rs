//! The options of a workspace that is made: what `up` and `run` share.

use std::path::{Path, PathBuf};

use clap::Args;
use kube::core::Duration;
use ws_api::{
    egress::Locked,
    names::{ClassName, WorkspaceName},
    workspace::WorkspaceSpec,
};

use super::paths::in_project;
use crate::{error::Error, lockfiles, owned::Wish, project::locate};

/// What a workspace is to be.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Workspace options")]
pub struct Making {
    /// Name of the workspace [default: the project's folder and a few random characters]
    #[arg(long, value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Class of the workspace [default: the cluster's default class]
    #[arg(long, value_name = "CLASS")]
    class: Option<ClassName>,
    /// Names of the class's egress rules to use, all others are left out; `--egress=` leaves out all [default: all]
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    egress: Option<Vec<String>>,
    /// Image, which the class must allow [default: the class's own]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// How long the workspace may live, as in `30m` or `2h` [default: the class's]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    lifetime: Option<Duration>,
    /// Send this file too, though it looks like a secret or is ignored; may be repeated
    #[arg(long, value_name = "PATH")]
    include: Vec<PathBuf>,
}

impl Making {
    /// The wish for a workspace of the project in `folder`.
    pub(super) fn wish(self, folder: &Path) -> Result<Wish, Error> {
        let Self { name, class, egress, image, lifetime, include } = self;
        let project = locate(folder)?;
        let packages = Some(lockfiles::read(&project)).filter(|locked| *locked != Locked::default());
        let egress = egress.map(|rules| rules.into_iter().filter(|rule| !rule.is_empty()).collect());
        Ok(Wish {
            name,
            include: in_project(&include, &project)?,
            project,
            spec: WorkspaceSpec {
                class_name: class.map(|class| class.to_string()),
                image,
                egress,
                packages,
                lifetime,
                ssh_public_keys: Vec::new(),
            },
        })
    }
}

/// The schema's own rule, so that a mistake is told before anything is done.
fn lifetime(text: &str) -> Result<Duration, String> {
    let expected = || "use hours, minutes and seconds, as in `30m` or `1h30m`".to_owned();
    let mut before = 'h';
    for character in text.chars() {
        match character {
            '0'..='9' => {}
            'h' | 'm' | 's' if before.is_ascii_digit() => {}
            _ => return Err(expected()),
        }
        before = character;
    }
    if before.is_ascii_digit() || text.is_empty() || text.len() > 32 {
        return Err(expected());
    }
    text.parse().map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_what_the_schema_takes() {
        for text in ["1m", "2h", "1h30m", "90s"] {
            assert!(lifetime(text).is_ok(), "{text}");
        }
        for text in ["", "2", "h", "-1h", "1.5h", "1d", "2 h", "1ms0", &"1h".repeat(17)] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
