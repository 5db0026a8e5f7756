//! Runs buildah with a storage of the lab's own, and only when an image's inputs have changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Archive;
use crate::command;
use crate::lock::Lock;
use crate::paths::Cache;
use crate::progress::Progress;

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The name of its archive.
    pub name: &'static str,
    /// Its reference.
    pub image: String,
    pub containerfile: PathBuf,
    /// The stage to build.
    pub target: Option<&'static str>,
    /// The whole build context.
    pub files: Vec<PathBuf>,
    /// What `ARG BASE` is, as a reference and as the archive that it was written to.
    pub base: Option<(&'static str, Archive)>,
}

/// buildah, its storage and the finished archives.
#[derive(Debug, Clone)]
pub struct Buildah {
    folder: PathBuf,
    lock: PathBuf,
}

impl Buildah {
    /// Works in the cache's folder for images.
    pub fn new(cache: &Cache) -> Self {
        Self { folder: cache.images(), lock: cache.lock("images") }
    }

    /// Whether the archive of `recipe` is there and made of the present inputs.
    fn is_fresh(&self, recipe: &Recipe) -> Result<bool> {
        let made_of = fs::read_to_string(self.inputs(recipe)).unwrap_or_default();
        Ok(self.archive(recipe).is_file() && made_of == inputs(recipe)?)
    }

    /// The archive of `recipe`, built if it must be. Waits for another build of images only in that case.
    pub fn build(&self, recipe: &Recipe, progress: &Progress) -> Result<Archive> {
        let archive = Archive(self.archive(recipe));
        if self.is_fresh(recipe)? {
            return Ok(archive);
        }
        let _lock = Lock::acquire(&self.lock, "build of images", progress)?;
        if !self.is_fresh(recipe)? {
            progress.note(&format!("building image {}", recipe.image));
            let context = self.context(recipe)?;
            self.bud(recipe, &context)?;
            self.push(&recipe.image, &archive.0)?;
            fs::remove_dir_all(&context).context("removing a build context")?;
            fs::write(self.inputs(recipe), inputs(recipe)?).context("remembering an image's inputs")?;
        }
        Ok(archive)
    }

    fn archive(&self, recipe: &Recipe) -> PathBuf {
        self.folder.join(format!("{}.tar", recipe.name))
    }

    fn inputs(&self, recipe: &Recipe) -> PathBuf {
        self.folder.join(format!("{}.inputs", recipe.name))
    }

    /// A folder with nothing but the recipe's files.
    fn context(&self, recipe: &Recipe) -> Result<PathBuf> {
        let context = self.folder.join(format!("{}.context", recipe.name));
        if context.exists() {
            fs::remove_dir_all(&context).context("removing an old build context")?;
        }
        fs::create_dir_all(&context).context("creating a build context")?;
        for file in &recipe.files {
            let name = file.file_name().context("a build input without a name")?;
            fs::copy(file, context.join(name)).with_context(|| format!("copying {}", file.display()))?;
        }
        Ok(context)
    }

    fn command(&self) -> Command {
        let mut buildah = Command::new("buildah");
        buildah
            .args(["--storage-driver", "overlay", "--root"])
            .arg(self.folder.join("storage"))
            .arg("--runroot")
            .arg(self.folder.join("storage-run"));
        buildah
    }

    fn bud(&self, recipe: &Recipe, context: &Path) -> Result<()> {
        let mut bud = self.command();
        // Chroot isolation needs no container runtime. Layers are kept, so a new agent does not reinstall the tools.
        bud.args(["bud", "--isolation", "chroot", "--layers", "--tag", &recipe.image, "--file"])
            .arg(&recipe.containerfile);
        bud.args(recipe.target.map(|target| format!("--target={target}")));
        if let Some((base, _)) = &recipe.base {
            bud.args(["--build-arg", &format!("BASE={base}")]);
        }
        command::output(bud.arg(context))?;
        Ok(())
    }

    /// Copies the image of `recipe`, which has been built, to a registry as `reference`. Who may write there is told by
    /// `buildah login`.
    pub fn publish(&self, recipe: &Recipe, reference: &str, progress: &Progress) -> Result<()> {
        let _lock = Lock::acquire(&self.lock, "build of images", progress)?;
        progress.note(&format!("pushing {reference}"));
        command::output(self.command().args(["push", &recipe.image, &format!("docker://{reference}")]))?;
        Ok(())
    }

    fn push(&self, image: &str, archive: &Path) -> Result<()> {
        let partial = archive.with_extension("partial");
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context("removing an unfinished archive");
            }
            Ok(()) | Err(_) => {}
        }
        // An OCI archive would be compressed, whatever buildah is told, only to be unpacked on this machine at once.
        let destination = format!("docker-archive:{}:{image}", partial.display());
        command::output(self.command().args(["push", image, &destination]))?;
        fs::rename(partial, archive).context("publishing an image archive")
    }
}

/// A digest of everything that an image is made of.
fn inputs(recipe: &Recipe) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let base = recipe.base.iter().map(|(_, archive)| &archive.0);
    for file in recipe.files.iter().chain([&recipe.containerfile]).chain(base) {
        hasher.update(digest(file)?.as_bytes());
    }
    hasher.update(format!("{} {:?}", recipe.image, recipe.target).as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

/// The digest of a file's content.
pub fn digest(file: &Path) -> Result<blake3::Hash> {
    let open = fs::File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open).with_context(|| format!("reading {}", file.display()))?;
    Ok(hasher.finalize())
}
