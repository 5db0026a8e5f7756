//! `lab build`: every binary of the lab, from published Go modules at pinned versions, once a set of pins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;
use crate::lock::Lock;
use crate::packages;
use crate::paths::{self, Cache};
use crate::pins::{self, Binary, Kind, Selection, TOOLS, Tool};
use crate::progress::Progress;

/// The binary that keeps a pod's namespaces, made of C that Kubernetes' module carries.
const PAUSE: &str = "pause";

/// The binaries of the present pins, whether they are built or not.
#[derive(Debug, Clone)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// Finds their folder in the cache.
    pub fn locate(cache: &Cache) -> Result<Self> {
        let pins = pins::hash(&tools()).context("reading the pinned versions")?;
        Ok(Self::at(cache.tools(&pins).join("bin")))
    }

    /// Those in `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Their folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The path of one of them.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Whether all that `selection` names are there.
    fn complete(&self, selection: Selection) -> bool {
        let mut tools = TOOLS.iter().flat_map(|tool| tool.selected(selection));
        tools.all(|binary| self.path(binary.name).is_file()) && self.path(PAUSE).is_file()
    }
}

fn tools() -> PathBuf {
    paths::sources().join("tools")
}

/// Builds what is missing. Safe to run twice at once: the second waits, and then finds everything there.
pub fn ensure(cache: &Cache, selection: Selection, progress: &Progress) -> Result<Binaries> {
    packages::ensure(progress)?;
    let binaries = Binaries::locate(cache)?;
    if binaries.complete(selection) {
        return Ok(binaries);
    }
    let _lock = Lock::acquire(&cache.lock("build"), "build of the same binaries", progress)?;
    fs::create_dir_all(binaries.folder()).context("creating the folder for binaries")?;
    for tool in TOOLS {
        let missing: Vec<&Binary> =
            tool.selected(selection).filter(|binary| !binaries.path(binary.name).is_file()).collect();
        if !missing.is_empty() {
            build(tool, &missing, &binaries, progress)?;
        }
    }
    if !binaries.path(PAUSE).is_file() {
        build_pause(&binaries, progress)?;
    }
    Ok(binaries)
}

fn build(tool: &Tool, missing: &[&Binary], binaries: &Binaries, progress: &Progress) -> Result<()> {
    let version = tool.version(&tools())?;
    let names: Vec<&str> = missing.iter().map(|binary| binary.name).collect();
    progress.note(&format!("building {} {version}: {}", tool.name, names.join(" ")));
    let partial = Partial::create(binaries)?;
    let commands: Vec<&str> =
        missing.iter().filter(|binary| binary.kind == Kind::Command).map(|binary| binary.package).collect();
    if !commands.is_empty() {
        let mut go = go(tool, "build", &version);
        command::output(go.arg("-o").arg(partial.folder()).args(commands))?;
    }
    for binary in missing.iter().filter(|binary| binary.kind == Kind::TestBinary) {
        let mut go = go(tool, "test", &version);
        command::output(go.arg("-c").arg("-o").arg(partial.path(binary.name)).arg(binary.package))?;
    }
    for binary in missing {
        partial.publish(binary.name, binaries)?;
    }
    Ok(())
}

fn go(tool: &Tool, verb: &str, version: &str) -> Command {
    let mut go = Command::new("go");
    go.arg(verb)
        .args(tool.flags(version))
        .current_dir(tool.folder(&tools()))
        .env("CGO_ENABLED", tool.cgo())
        // The pins decide; a user's own flags could replace them.
        .env("GOFLAGS", "-mod=readonly")
        .env("GOWORK", "off");
    go
}

fn build_pause(binaries: &Binaries, progress: &Progress) -> Result<()> {
    progress.note("building pause");
    let kubernetes = command::output(
        Command::new("go")
            .args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"])
            .current_dir(tools().join("kubernetes"))
            .env("GOFLAGS", "-mod=readonly")
            .env("GOWORK", "off"),
    )?;
    let source = Path::new(kubernetes.trim()).join("build/pause/linux/pause.c");
    let partial = Partial::create(binaries)?;
    command::output(
        Command::new("gcc")
            .args(["-Os", "-Wall", "-static", "-s", "-DVERSION=lab", "-o"])
            .arg(partial.path(PAUSE))
            .arg(source),
    )?;
    partial.publish(PAUSE, binaries)
}

/// A folder beside the finished binaries: what is in there is whole only after [`Partial::publish`] renamed it.
struct Partial(PathBuf);

impl Partial {
    fn create(binaries: &Binaries) -> Result<Self> {
        let folder = binaries.folder().with_file_name("partial");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("removing an unfinished build")?;
        }
        fs::create_dir_all(&folder).context("creating a folder for the build")?;
        Ok(Self(folder))
    }

    fn folder(&self) -> &Path {
        &self.0
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn publish(&self, name: &str, binaries: &Binaries) -> Result<()> {
        fs::rename(self.path(name), binaries.path(name)).with_context(|| format!("publishing {name}"))
    }
}
