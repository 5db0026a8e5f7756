//! The red team's tests in the lab, against gateways that lack a defence.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use ws_tests::{command::run, lab::Lab};

use crate::{Failures, failures, output};

/// The tests' programs, and at how many tests a time: those that need the cluster for themselves change what others see.
const TESTS: [(&str, &str); 2] = [("cluster", "4"), ("alone", "1")];
const LIMIT: std::time::Duration = std::time::Duration::from_mins(2);

pub(crate) struct Attack<'a> {
    lab: &'a Lab,
    root: &'a Path,
    folder: TempDir,
    /// Gateways that were deployed.
    deployed: u32,
}

impl<'a> Attack<'a> {
    pub(crate) fn on(lab: &'a Lab, root: &'a Path) -> Result<Self> {
        Ok(Self { lab, root, folder: tempfile::tempdir()?, deployed: 0 })
    }

    /// Has the lab's gateways run this program.
    pub(crate) async fn deploy(&mut self, program: &Path) -> Result<()> {
        self.deployed += 1;
        let image = format!("localhost/ws-gateway:without-{}", self.deployed);
        let archive = self.image(&image, program)?;
        Lab::command(&["load", &archive], LIMIT).await?.ok()?;
        fs::remove_file(&archive)?;
        let kubectl = async |arguments: &[&str]| {
            let command = self.lab.kubectl_command(&[&["-n", self.lab.ws_namespace()], arguments].concat());
            run(command, LIMIT).await?.ok()
        };
        kubectl(&["set", "image", "deployment/ws-gateway", &format!("*={image}")]).await?;
        kubectl(&["rollout", "status", "deployment/ws-gateway", "--timeout=100s"]).await.map(drop)
    }

    /// Builds the image as a release does; its archive.
    fn image(&self, image: &str, program: &Path) -> Result<String> {
        let folder = self.folder.path();
        let context = folder.join("context");
        fs::create_dir_all(&context)?;
        fs::copy(program, context.join("ws-gateway"))?;
        let archive = folder.join("gateway.tar").display().to_string();
        let buildah = |arguments: &[&str]| {
            let mut buildah = Command::new("buildah");
            buildah.args(["--storage-driver", "overlay", "--root"]).arg(folder.join("storage"));
            buildah.arg("--runroot").arg(folder.join("storage-run")).args(arguments).current_dir(self.root);
            output(&mut buildah)
        };
        let context = context.display().to_string();
        let of = ["--target", "gateway", "--tag", image, "--file", "operator/Containerfile", &context];
        buildah(&[&["bud", "--isolation", "chroot"], &of[..]].concat())?;
        buildah(&["push", image, &format!("docker-archive:{archive}:{image}")])?;
        Ok(archive)
    }

    /// The tests named after these cases that fail, each with what it printed.
    pub(crate) fn failed<'c>(&self, cases: impl IntoIterator<Item = &'c str>) -> Result<Failures> {
        let names: Vec<String> = cases.into_iter().map(|case| case.to_lowercase() + "_").collect();
        let mut failed = Failures::new();
        if names.is_empty() {
            return Ok(failed);
        }
        for (tests, at_once) in TESTS {
            // Tests send signals, which what starts them in the background has them ignore.
            let mut cargo = Command::new("env");
            cargo.args(["--default-signal=HUP,INT", "cargo", "test", "--release", "--locked", "--workspace"]);
            cargo
                .args(["--test", tests, "--", "--ignored", &format!("--test-threads={at_once}")])
                .args(&names);
            let ran = cargo.current_dir(self.root).output().context("starting cargo")?;
            let printed = String::from_utf8_lossy(&ran.stdout);
            let has_run = printed.contains("test result: ");
            ensure!(has_run, "the tests did not run: {}", String::from_utf8_lossy(&ran.stderr));
            failed.extend(failures(&printed));
        }
        Ok(failed)
    }
}
