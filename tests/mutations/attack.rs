//! The red team's tests in the lab, against an installation that lacks a defence.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::time::sleep;
use ws_tests::{command::run, lab::Lab};

use crate::{Failures, failures, output, tree::Tree};

/// The tests' programs, and at how many tests a time: those that need the cluster for themselves change what others see.
const TESTS: [(&str, &str); 2] = [("cluster", "4"), ("alone", "1")];
const LIMIT: Duration = Duration::from_mins(2);
/// When an API server goes by admission policies that have changed.
const HEEDED: Duration = Duration::from_secs(5);
const OPERATOR: &str = "deployment/ws-operator";
const GATEWAY: &str = "deployment/ws-gateway";
/// Empties the Secret of the gateways' authority.
const EMPTY: &str = r#"{"data": null}"#;
/// Which part of the installation is made of which folder. The policy's crate is the gateways'.
const FOLDERS: [(&str, Part); 5] = [
    ("charts/ws", Part::Chart),
    ("operator/src", Part::Operator),
    ("operator/gateway", Part::Gateway),
    ("operator/policy", Part::Gateway),
    ("operator/agent", Part::Agent),
];

/// What of an installation may lack a defence, in the order in which it is deployed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    /// All that is not in a program. It says which programs run, so that they come after it.
    Chart,
    Operator,
    Gateway,
    Agent,
}

impl Part {
    /// The part that is made of this file.
    pub(crate) fn of(file: &Path) -> Result<Self> {
        let part = FOLDERS.iter().find(|(folder, _)| file.starts_with(folder)).map(|(_, part)| *part);
        part.with_context(|| format!("{} is in no part of an installation", file.display()))
    }
}

pub(crate) struct Attack<'a> {
    lab: &'a Lab,
    root: &'a Path,
    folder: TempDir,
    /// Images that were made.
    made: u32,
    /// What may not be as it was installed.
    replaced: BTreeSet<Part>,
}

impl<'a> Attack<'a> {
    pub(crate) fn on(lab: &'a Lab, root: &'a Path) -> Result<Self> {
        Ok(Self { lab, root, folder: tempfile::tempdir()?, made: 0, replaced: BTreeSet::new() })
    }

    /// Has the lab run these parts as they are in the tree, and all others as they were installed.
    pub(crate) async fn deploy(&mut self, tree: &Tree, parts: &BTreeSet<Part>) -> Result<()> {
        if !self.replaced.is_subset(parts) {
            self.restore().await?;
        }
        for part in parts {
            self.replace(tree, *part).await?;
        }
        self.roll_out().await
    }

    /// Has the lab run what was installed.
    pub(crate) async fn restore(&mut self) -> Result<()> {
        if self.replaced.is_empty() {
            return Ok(());
        }
        if self.replaced.contains(&Part::Gateway) {
            self.forget_authority().await?;
        }
        self.apply_chart(self.root).await?;
        self.replaced.clear();
        self.roll_out().await
    }

    async fn replace(&mut self, tree: &Tree, part: Part) -> Result<()> {
        let name = match part {
            Part::Chart => {
                self.replaced.insert(part);
                return self.apply_chart(tree.root()).await;
            }
            Part::Operator => "operator",
            Part::Gateway => "gateway",
            Part::Agent => "agent",
        };
        let image = self.load(tree, name).await?;
        self.replaced.insert(part);
        if part == Part::Agent {
            // No image is known to hold one, so that each workspace gets this, as in images of somebody's own.
            let variables = ["WS_STOCK_IMAGES=localhost/none", &format!("WS_AGENT_IMAGE={image}")];
            return self.kubectl(&[&["set", "env", OPERATOR], &variables[..]].concat()).await;
        }
        if part == Part::Gateway {
            self.forget_authority().await?;
        }
        self.kubectl(&["set", "image", &format!("deployment/ws-{name}"), &format!("*={image}")]).await
    }

    /// Applies the chart of a tree with the values that it was installed with. What was changed meanwhile is again as that says, also which
    /// images run.
    async fn apply_chart(&self, root: &Path) -> Result<()> {
        let chart = root.join("charts/ws").display().to_string();
        let upgrade = ["upgrade", "ws", &chart, "--namespace", self.lab.ws_namespace(), "--reuse-values"];
        self.lab.helm(&upgrade).await?.ok()?;
        sleep(HEEDED).await;
        Ok(())
    }

    /// Has the gateways that start next make their authority themselves: what that may sign is a defence of theirs.
    async fn forget_authority(&self) -> Result<()> {
        self.kubectl(&["patch", "secret", "ws-gateway-ca", "--type=merge", "-p", EMPTY]).await
    }

    async fn roll_out(&self) -> Result<()> {
        for deployment in [OPERATOR, GATEWAY] {
            self.kubectl(&["rollout", "status", deployment, "--timeout=100s"]).await?;
        }
        Ok(())
    }

    async fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        let command = self.lab.kubectl_command(&[&["-n", self.lab.ws_namespace()], arguments].concat());
        run(command, LIMIT).await?.ok().map(drop)
    }

    /// Builds a program of the tree and brings its image into the lab; the image's reference.
    async fn load(&mut self, tree: &Tree, name: &str) -> Result<String> {
        self.made += 1;
        let image = format!("localhost/ws-{name}:without-{}", self.made);
        let archive = self.image(&image, name, &tree.program(&format!("ws-{name}"))?)?;
        Lab::command(&["load", &archive], LIMIT).await?.ok()?;
        fs::remove_file(&archive)?;
        Ok(image)
    }

    /// Builds the image as a release does; its archive.
    fn image(&self, image: &str, target: &str, program: &Path) -> Result<String> {
        let folder = self.folder.path();
        let context = folder.join("context");
        fs::create_dir_all(&context)?;
        fs::copy(program, context.join(format!("ws-{target}")))?;
        let archive = folder.join(format!("{target}.tar")).display().to_string();
        let buildah = |arguments: &[&str]| {
            let mut buildah = Command::new("buildah");
            buildah.args(["--storage-driver", "overlay", "--root"]).arg(folder.join("storage"));
            buildah.arg("--runroot").arg(folder.join("storage-run")).args(arguments).current_dir(self.root);
            output(&mut buildah)
        };
        let context = context.display().to_string();
        let of = ["--target", target, "--tag", image, "--file", "operator/Containerfile", &context];
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
