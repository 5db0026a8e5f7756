//! Starts components and waits for them; remembers each in the state before anything else happens.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::time::sleep;

use crate::command;
use crate::components::Component;
use crate::process;
use crate::progress::Progress;
use crate::state::State;

/// How long any one component may take: far more than it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two looks at something that is not ready yet.
const POLL: Duration = Duration::from_millis(50);
/// Lines of a component's log that an error shows.
const SHOWN_LINES: usize = 20;

/// A lab that is being started.
pub struct Launcher {
    state: State,
    logs: PathBuf,
    progress: Progress,
}

impl Launcher {
    /// Writes the first state: from here on, `lab down` finds what there is.
    pub fn begin(state: State, logs: PathBuf, progress: Progress) -> Result<Self> {
        state.save()?;
        Ok(Self { state, logs, progress })
    }

    /// What has been made so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Starts a component with a fresh log.
    pub fn start(&mut self, component: &Component) -> Result<()> {
        let log = self.log(component);
        match fs::remove_file(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", log.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let mut command = Command::new(&component.program);
        // Shown by `ps`, where the path of this very program would say nothing.
        command.arg0(component.name).args(&component.arguments).env("PATH", self.path()?);
        let process = process::start(command, component.network, &log)
            .with_context(|| format!("{}\n{}", component.name, self.last_lines(component)))?;
        self.state.processes.insert(component.name.to_owned(), process);
        self.state.save()
    }

    /// Waits until `check` holds. `what` is the sentence for the progress line. Fails with the component's last log
    /// lines when its process ends or [`PATIENCE`] does.
    pub async fn until(
        &self,
        component: &Component,
        what: &str,
        mut check: impl AsyncFnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let process = self.state.processes.get(component.name).context("a component that was not started")?;
        while !check().await {
            let name = component.name;
            if !process.is_alive() {
                bail!("{name} ended; its last lines:\n{}", self.last_lines(component));
            }
            if Instant::now() > deadline {
                bail!(
                    "not after {PATIENCE:?}: {what}; last lines of {name}:\n{}",
                    self.last_lines(component)
                );
            }
            sleep(POLL).await;
        }
        self.progress.note(what);
        Ok(())
    }

    /// Marks the lab as complete.
    pub fn finish(mut self) -> Result<()> {
        self.state.ready = true;
        self.state.save()
    }

    fn log(&self, component: &Component) -> PathBuf {
        self.logs.join(format!("{}.log", component.name))
    }

    fn last_lines(&self, component: &Component) -> String {
        let text = fs::read(self.log(component)).unwrap_or_default();
        command::tail(&String::from_utf8_lossy(&text), SHOWN_LINES)
    }

    /// containerd finds its shim, and the shim runc, on the `PATH`; `nft` is in an administrator's folder.
    fn path(&self) -> Result<std::ffi::OsString> {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.state.binaries.clone())
            .chain(std::env::split_paths(&inherited))
            .chain(["/usr/sbin".into(), "/sbin".into()]);
        std::env::join_paths(folders).context("a folder of binaries with a colon in its path")
    }
}
