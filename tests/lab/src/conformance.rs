//! `lab conformance`: Kubernetes' own NetworkPolicy tests against the lab's enforcer.
//!
//! The proof has two halves: with the enforcer all tests pass, and without it the tests of denial fail, so it is the
//! enforcer that they measure. The summary is committed, and has nothing in it that differs between two good runs.

mod report;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::build::{self, Binaries};
use crate::containerd::Containerd;
use crate::enforcement::Enforcement;
use crate::images::{self, Archive};
use crate::lock::Lock;
use crate::paths::{self, Cache};
use crate::pins::{Selection, TOOLS};
use crate::progress::Progress;
use crate::state::State;
use crate::{command, down, up};
use report::{Skipped, Summary, Tests, Versions};

/// All tests of policies are of this suite.
const SUITE: &str = "Netpol";

/// Tests that no lab can run, by the label in their names.
const LEFT_OUT: &str = "SCTPConnectivity";
const LEFT_OUT_BECAUSE: &str =
    "SCTP between pods needs a module that the kernels of small virtual machines lack";

/// Two tests that pass only if something is denied.
const CONTROL: &str = "Netpol.*should support a 'default-deny-(ingress|all)' policy";

/// Runs both halves, each in a fresh lab, and writes the summary beside the sources.
///
/// # Errors
/// When a test failed with the enforcer or passed without one; the summary is written all the same. When the tests
/// could not be run at all, nothing is written.
pub async fn run(progress: Progress) -> Result<()> {
    let cache = Cache::locate()?;
    let binaries = build::ensure(&cache, Selection::Conformance, &progress)?;
    let suite = Suite { program: binaries.path("e2e.test"), reports: cache.logs() };
    let image = agnhost(&cache, &binaries, &progress)?;
    let parts = up::Parts::ensure(&progress)?;
    // Half an hour of tests needs a lab that nobody else changes.
    let lock = Lock::acquire(Path::new(paths::LOCK), "command that changes the lab", &progress)?;
    if State::load()?.is_some() {
        bail!("a lab is up, and the tests need one of their own: take it down first");
    }
    let tests = Bench { parts, image, lock, progress };
    let control = tests.in_lab(Enforcement::Off, || suite.run("control", CONTROL)).await?;
    let enforced = tests.in_lab(Enforcement::On, || suite.run("netpol", SUITE)).await?;

    let summary = Summary {
        versions: versions()?,
        enforced,
        control,
        skipped: Skipped { label: LEFT_OUT, because: LEFT_OUT_BECAUSE },
    };
    let path = paths::sources().join("conformance.md");
    fs::write(&path, summary.markdown()).with_context(|| format!("writing {}", path.display()))?;
    progress.note(&format!("{}; see {}", summary.verdict(), path.display()));
    if !summary.is_proof() {
        bail!("the tests do not prove the enforcer; their output is in {}", cache.logs().display());
    }
    Ok(())
}

/// What every lab of the run needs.
struct Bench {
    parts: up::Parts,
    image: Archive,
    lock: Lock,
    progress: Progress,
}

impl Bench {
    /// Does something in a new lab, which is taken down afterwards whatever comes of it.
    async fn in_lab<T>(&self, enforcement: Enforcement, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.parts.start(&self.lock, enforcement, self.progress).await?;
        let result = self.load().and_then(|()| {
            self.progress.note(&format!("testing with the enforcer {enforcement}"));
            work()
        });
        down::clear(&self.progress)?;
        result
    }

    fn load(&self) -> Result<()> {
        let state = State::load()?.context("the lab is gone")?;
        let root = state.containerd.context("a lab without containerd")?;
        let containerd = Containerd::new(&Binaries::at(state.binaries));
        images::load(&containerd, &root, std::slice::from_ref(&self.image), &self.progress)
    }
}

/// The image that the tests use, under the reference by which they ask for it: the newest that they list.
fn agnhost(cache: &Cache, binaries: &Binaries, progress: &Progress) -> Result<Archive> {
    let listed = command::output(Command::new(binaries.path("e2e.test")).arg("--list-images"))?;
    let references =
        listed.lines().map(str::trim).filter(|image| image.contains("/e2e-test-images/agnhost:"));
    let newest = references.max_by_key(|reference| numbers(reference)).context("the tests use no agnhost")?;
    images::ensure_agnhost(cache, binaries, newest, progress)
}

/// The numbers of an image's tag.
fn numbers(reference: &str) -> Vec<u32> {
    let tag = reference.rsplit(':').next().unwrap_or_default();
    tag.split('.').map(|number| number.parse().unwrap_or_default()).collect()
}

/// Kubernetes' end-to-end tests.
struct Suite {
    program: PathBuf,
    /// Where output and reports go.
    reports: PathBuf,
}

impl Suite {
    /// Runs the tests whose names match `focus`, one after the other; failed ones are no error.
    fn run(&self, name: &str, focus: &str) -> Result<Tests> {
        let report = self.reports.join(format!("conformance-{name}.json"));
        let log = self.reports.join(format!("conformance-{name}.log"));
        if report.exists() {
            fs::remove_file(&report).context("removing an old report")?;
        }
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let status = Command::new(&self.program)
            .args(["--provider=skeleton", "--num-nodes=1", "--disable-log-dump", "--ginkgo.no-color"])
            .arg(format!("--kubeconfig={}", paths::kubeconfig().display()))
            .arg(format!("--ginkgo.focus={focus}"))
            .arg(format!("--ginkgo.skip={LEFT_OUT}"))
            .arg(format!("--ginkgo.json-report={}", report.display()))
            .current_dir(&self.reports)
            .stderr(output.try_clone().context("sharing the log")?)
            .stdout(output)
            .status()
            .context("starting e2e.test")?;
        let text = fs::read(&report)
            .with_context(|| format!("e2e.test ({status}) left no report; see {}", log.display()))?;
        let tests = Tests::read(&text, SUITE)?;
        if tests.run() == 0 {
            bail!("e2e.test ({status}) ran no tests; see {}", log.display());
        }
        Ok(tests)
    }
}

fn versions() -> Result<Versions> {
    let mut tools = Vec::new();
    for name in ["kubernetes", "containerd", "runc", "cni"] {
        let tool = TOOLS.iter().find(|tool| tool.name == name).with_context(|| format!("no tool {name}"))?;
        tools.push((name.to_owned(), tool.version(&paths::sources().join("tools"))?));
    }
    let nft = command::output(Command::new("nft").arg("--version"))?;
    tools.push(("nft".to_owned(), nft.split_whitespace().nth(1).unwrap_or_default().to_owned()));
    tools.push(("kernel".to_owned(), kernel(Path::new("/proc/sys/kernel/osrelease"))?));
    Ok(Versions(tools))
}

/// The first two numbers of the kernel's release: the rest names a machine's own build.
fn kernel(release: &Path) -> Result<String> {
    let release = fs::read_to_string(release).context("reading the kernel's release")?;
    Ok(release.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join("."))
}
