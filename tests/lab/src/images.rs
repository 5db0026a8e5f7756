//! `lab images` and `lab load`: image archives from the same `Containerfile`s that a release is built from, and their
//! way into containerd.

mod agents;
mod buildah;
mod elf;
mod load;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::build::Binaries;
use crate::components::{COREDNS_IMAGE, PAUSE_IMAGE};
use crate::lock::Lock;
use crate::paths::{self, Cache};
use crate::progress::Progress;
use crate::{command, packages};
use buildah::{Buildah, Recipe};

pub use load::load;

/// An image in a file, in a format that containerd imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive(pub PathBuf);

/// The version in the images' names: that of all crates of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where releases are pushed to; the lab never pulls.
const REPOSITORY: &str = "ghcr.io/ws-dev";
/// The crates whose binaries the images hold.
const SERVERS: [&str; 3] = ["ws-operator", "ws-gateway", "ws-agent"];
/// The base of the workspace image in the lab.
const BASE_IMAGE: &str = "localhost/ws-base:1";
/// That base with coding agents.
const AGENTS_BASE_IMAGE: &str = "localhost/ws-agents-base:1";
/// The workspace image on it: for tests, and no part of a release.
const AGENTS_IMAGE: &str = "localhost/ws-agents:1";
/// An image of somebody's own, with the toolchains of many languages: for tests as well.
const TOOLCHAINS_IMAGE: &str = "localhost/ws-toolchains:1";
/// Debian's release for it.
const SUITE: &str = "bookworm";

/// The two images that a lab needs before any of ours: built when they are missing or their binaries changed.
pub fn ensure_own(cache: &Cache, binaries: &Binaries, progress: &Progress) -> Result<Vec<Archive>> {
    let own = [("pause", PAUSE_IMAGE), ("coredns", COREDNS_IMAGE)].map(|(name, image)| Recipe {
        name,
        image: image.to_owned(),
        containerfile: paths::sources().join(format!("images/{name}.Containerfile")),
        target: None,
        files: vec![binaries.path(name)],
        base: None,
    });
    let buildah = Buildah::new(cache);
    own.iter().map(|recipe| buildah.build(recipe, progress)).collect()
}

/// The image of Kubernetes' own network tests, under the reference by which they ask for it.
pub fn ensure_agnhost(
    cache: &Cache,
    binaries: &Binaries,
    reference: &str,
    progress: &Progress,
) -> Result<Archive> {
    let recipe = Recipe {
        name: "agnhost",
        image: reference.to_owned(),
        containerfile: paths::sources().join("images/agnhost.Containerfile"),
        target: None,
        files: vec![binaries.path("agnhost")],
        base: None,
    };
    Buildah::new(cache).build(&recipe, progress)
}

/// Builds ws's own images and one with coding agents, if it is wanted also one with toolchains, and returns their archives.
pub fn ensure_all(cache: &Cache, toolchains: bool, progress: &Progress) -> Result<Vec<Archive>> {
    let (buildah, recipes) = ready(cache, progress)?;
    let mut archives: Vec<Archive> =
        recipes.iter().map(|recipe| buildah.build(recipe, progress)).collect::<Result<_>>()?;
    archives.push(with_agents(cache, &buildah, progress)?);
    if toolchains {
        archives.push(with_toolchains(cache, &buildah, progress)?);
    }
    Ok(archives)
}

/// Without the agent, which ws brings into such an image: so it is built and loaded once, and not with each new agent.
fn with_toolchains(cache: &Cache, buildah: &Buildah, progress: &Progress) -> Result<Archive> {
    let base = (BASE_IMAGE, base(cache, buildah, progress)?);
    buildah.build(&further("toolchains", TOOLCHAINS_IMAGE, base, vec![]), progress)
}

/// The workspace image, as it is built, on a base of one's own.
fn with_agents(cache: &Cache, buildah: &Buildah, progress: &Progress) -> Result<Archive> {
    let base = (BASE_IMAGE, base(cache, buildah, progress)?);
    let agents = vec![agents::ensure(cache, progress)?];
    let base = buildah.build(&further("agents-base", AGENTS_BASE_IMAGE, base, agents), progress)?;
    let recipe = Recipe {
        name: "agents",
        image: AGENTS_IMAGE.to_owned(),
        ..workspace(&servers()?, (AGENTS_BASE_IMAGE, base))
    };
    buildah.build(&recipe, progress)
}

/// What is put on a base for tests alone, with a `Containerfile` of that name.
fn further(name: &'static str, image: &str, base: (&'static str, Archive), files: Vec<PathBuf>) -> Recipe {
    let containerfile = paths::sources().join(format!("images/{name}.Containerfile"));
    Recipe { name, image: image.to_owned(), containerfile, target: None, files, base: Some(base) }
}

/// Builds ws's own images of today's Debian, copies them to `repository` (a registry, and a path in it if one is wanted) and
/// returns their references there.
pub fn publish(cache: &Cache, repository: &str, progress: &Progress) -> Result<Vec<String>> {
    // The lab may test on an old base; nobody is to be given one whose security updates are missing.
    forget_base(cache)?;
    let (buildah, recipes) = ready(cache, progress)?;
    let push = |recipe: &Recipe| {
        buildah.build(recipe, progress)?;
        let reference = format!("{}/{}:{VERSION}", repository.trim_end_matches('/'), recipe.name);
        buildah.publish(recipe, &reference, progress)?;
        Ok(reference)
    };
    recipes.iter().map(push).collect()
}

fn ready(cache: &Cache, progress: &Progress) -> Result<(Buildah, Vec<Recipe>)> {
    packages::ensure(progress)?;
    let binaries = servers()?;
    let buildah = Buildah::new(cache);
    let base = base(cache, &buildah, progress)?;
    Ok((buildah, recipes(&binaries, &base)))
}

/// One image for each server, and the workspace's.
fn recipes(binaries: &Path, base: &Archive) -> Vec<Recipe> {
    let operator = paths::repository().join("operator");
    let server = |name, binary| Recipe {
        name,
        image: format!("{REPOSITORY}/{name}:{VERSION}"),
        containerfile: operator.join("Containerfile"),
        target: Some(name),
        files: vec![binaries.join(binary)],
        base: None,
    };
    vec![
        server("operator", "ws-operator"),
        server("gateway", "ws-gateway"),
        server("agent", "ws-agent"),
        workspace(binaries, (BASE_IMAGE, base.clone())),
    ]
}

fn workspace(binaries: &Path, base: (&'static str, Archive)) -> Recipe {
    Recipe {
        name: "workspace",
        image: format!("{REPOSITORY}/workspace:{VERSION}"),
        containerfile: paths::repository().join("operator/agent/workspace.Containerfile"),
        target: None,
        files: vec![binaries.join("ws-agent")],
        base: Some(base),
    }
}

/// The folder of the servers' binaries: that of this program. They must be static, for their images hold nothing else.
fn servers() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program's folder")?;
    let folder = own.parent().context("this program is in no folder")?;
    for name in SERVERS {
        let path = folder.join(name);
        let binary = fs::read(&path)
            .with_context(|| format!("{} cannot be read: `make tools` builds it", path.display()))?;
        ensure!(
            elf::is_static(&binary),
            "{} is not static: RUSTFLAGS in the environment replace those of .cargo/config.toml; unset it and build again",
            path.display()
        );
    }
    Ok(folder.to_owned())
}

fn debian(cache: &Cache) -> PathBuf {
    cache.images().join("debian.tar")
}

/// What is built on the base next begins with a new one, and installs its packages anew.
fn forget_base(cache: &Cache) -> Result<()> {
    match fs::remove_file(debian(cache)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("removing the old base")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Debian's minimal system, once: it changes only when its archive is removed from the cache.
fn base(cache: &Cache, buildah: &Buildah, progress: &Progress) -> Result<Archive> {
    let tree = debian(cache);
    let lock = Lock::acquire(&cache.lock("base"), "build of the base", progress)?;
    if !tree.is_file() {
        progress.note(&format!("making a base of Debian {SUITE}"));
        let partial = cache.images().join("debian.partial.tar");
        fs::create_dir_all(cache.images()).context("creating the folder for images")?;
        command::output(Command::new("mmdebstrap").args(["--variant=minbase", SUITE]).arg(&partial))?;
        fs::rename(partial, &tree).context("publishing the base")?;
    }
    drop(lock);
    let recipe = Recipe {
        name: "base",
        image: BASE_IMAGE.to_owned(),
        containerfile: paths::sources().join("images/base.Containerfile"),
        target: None,
        files: vec![tree],
        base: None,
    };
    buildah.build(&recipe, progress)
}
