//! What the lab asks of containerd, by its own command `ctr`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::build::Binaries;
use crate::network::{self, namespace};
use crate::{command, paths};

/// The namespace that Kubernetes' containers and images live in.
const NAMESPACE: &str = "k8s.io";

/// A running containerd.
#[derive(Debug, Clone)]
pub struct Containerd {
    ctr: PathBuf,
}

impl Containerd {
    /// The lab's, asked by the `ctr` of `binaries`.
    pub fn new(binaries: &Binaries) -> Self {
        Self { ctr: binaries.path("ctr") }
    }

    /// Runs `ctr` in the node's network: should this program be killed meanwhile, `lab down` finds it there.
    fn ctr<A: AsRef<OsStr>>(&self, verb: &[&str], arguments: &[A]) -> Result<String> {
        let mut ctr = Command::new(&self.ctr);
        ctr.arg("--address").arg(paths::containerd_socket()).args(["--namespace", NAMESPACE]);
        ctr.args(verb).args(arguments);
        namespace::enter(network::NODE, || command::output(&mut ctr))?
    }

    fn ask(&self, verb: &[&str]) -> Result<String> {
        self.ctr::<&str>(verb, &[])
    }

    /// Whether it answers.
    pub fn answers(&self) -> bool {
        paths::containerd_socket().exists() && self.ask(&["version"]).is_ok()
    }

    /// Imports an image archive; returns the references in it.
    pub fn import(&self, archive: &Path) -> Result<Vec<String>> {
        // The local client names each image as it unpacks it.
        let said = self.ctr(&["images", "import", "--local"], &[archive])?;
        Ok(said.lines().filter_map(imported).map(str::to_owned).collect())
    }

    /// References of all images.
    pub fn images(&self) -> Result<Vec<String>> {
        Ok(self.ask(&["images", "list", "--quiet"])?.lines().map(str::to_owned).collect())
    }

    /// Removes references to images; what containers use of them stays.
    pub fn remove_images(&self, references: &[String]) -> Result<()> {
        self.ctr(&["images", "remove"], references).map(drop)
    }

    /// Removes all containers and sandboxes whose processes have been killed; returns whether none is left. The images
    /// stay, and the next lab finds no containers of a cluster that it never knew.
    pub fn forget_containers(&self) -> Result<bool> {
        let (containers, sandboxes) = (self.containers()?, self.sandboxes()?);
        if !containers.is_empty() {
            // Fails for those whose end containerd has not seen yet; the caller tries again.
            drop(self.ctr(&["containers", "delete"], &containers));
        }
        if !sandboxes.is_empty() {
            drop(self.ctr(&["sandboxes", "remove", "--force"], &sandboxes));
        }
        Ok(self.containers()?.is_empty() && self.sandboxes()?.is_empty())
    }

    fn containers(&self) -> Result<Vec<String>> {
        let text = self.ask(&["containers", "list", "--quiet"])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn sandboxes(&self) -> Result<Vec<String>> {
        let text = self.ask(&["sandboxes", "list"])?;
        // A heading, then one line each that begins with the name.
        Ok(text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect())
    }
}

/// The reference in `unpacking REFERENCE (DIGEST)...`.
fn imported(line: &str) -> Option<&str> {
    line.strip_prefix("unpacking ")?.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_imported_references_are_read_from_what_ctr_says() {
        assert_eq!(imported("unpacking localhost/a:1 (sha256:00)...done"), Some("localhost/a:1"));
        assert_eq!(imported("saving 12 bytes"), None);
    }
}
