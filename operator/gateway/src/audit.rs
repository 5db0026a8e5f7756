//! The audit log: one JSON object a line, for each decision. No query, no body, no header's value.
//!
//! It never makes a request wait: a workspace that floods it gets one line a second that sums up the rest, and what a stuck
//! reader leaves no room for is dropped and counted. Gaps in `seq` show both.

use std::{
    io::{BufWriter, Write},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

mod burst;

pub use burst::Burst;

use crate::{
    audit::burst::{Admission, REFILL},
    metrics::Metrics,
    refusal::Reason,
    request::MAX_NAME,
    session::{Session, lock},
};

/// Lines that wait for the reader of the log.
const BACKLOG: usize = 4_096;
const MAX_METHOD: usize = 32;
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What was asked for and denied.
#[derive(Clone, Debug)]
pub struct Denial {
    pub method: String,
    /// Canonical, or hostile as far as it could not be read.
    pub host: String,
    pub port: Option<u16>,
    pub source: IpAddr,
}

/// Writes the log. Clones write into the same.
#[derive(Clone, Debug)]
pub struct Audit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lines: mpsc::Sender<Message>,
    /// Of all requests that belong to no workspace.
    strangers: Mutex<Burst>,
    summaries: TaskTracker,
    closing: CancellationToken,
    metrics: Metrics,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    namespace: Option<&'a str>,
    workspace: Option<&'a str>,
    uid: Option<&'a str>,
    /// Number of the decision among the workspace's, in this process.
    seq: u64,
    decision: &'static str,
    /// How many decisions the line stands for.
    count: u64,
    #[serde(flatten)]
    on: Option<On>,
}

#[derive(Serialize)]
struct On {
    reason: &'static str,
    /// The rule that decided. A refusal for want of a rule has none.
    rule: Option<&'static str>,
    method: String,
    host: String,
    port: Option<u16>,
    source: IpAddr,
}

impl Audit {
    /// Starts the thread that writes to `sink`.
    pub fn start(sink: impl Write + Send + 'static, metrics: Metrics) -> std::io::Result<Self> {
        let (lines, receiver) = mpsc::channel(BACKLOG);
        thread::Builder::new().name("audit".into()).spawn(move || write(BufWriter::new(sink), receiver))?;
        let shared = Shared {
            lines,
            strangers: Mutex::default(),
            summaries: TaskTracker::new(),
            closing: CancellationToken::new(),
            metrics,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Records a denial. Without a session it came from no workspace that is known.
    pub fn denied(&self, session: Option<&Arc<Session>>, reason: Reason, denial: &Denial) {
        let admission = self.burst(session).admit(Instant::now());
        match admission {
            Admission::Write { seq } => self.send(&line(session, seq, 1, Some(On::new(reason, denial)))),
            Admission::Hold { first: false } => (),
            Admission::Hold { first: true } => {
                let (audit, session) = (self.clone(), session.cloned());
                self.shared.summaries.spawn(async move { audit.summarize(session).await });
            }
        }
    }

    /// Writes what is still held, and returns when all is out, after two seconds at the latest.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.summaries.close();
        let flush = async {
            self.shared.summaries.wait().await;
            let (done, flushed) = oneshot::channel();
            if self.shared.lines.send(Message::Flush(done)).await.is_ok() {
                flushed.await.ok();
            }
        };
        if timeout(CLOSE_DEADLINE, flush).await.is_err() {
            error!("the audit log could not be written to its end");
        }
    }

    async fn summarize(&self, session: Option<Arc<Session>>) {
        self.shared.closing.run_until_cancelled(sleep(REFILL)).await;
        let held = self.burst(session.as_ref()).release();
        self.send(&line(session.as_ref(), held.seq, held.count, None));
    }

    fn burst<'a>(&'a self, session: Option<&'a Arc<Session>>) -> MutexGuard<'a, Burst> {
        session.map_or_else(|| lock(&self.shared.strangers), |session| session.burst())
    }

    fn send(&self, line: &Line<'_>) {
        let sent = serde_json::to_vec(line).map(|line| self.shared.lines.try_send(Message::Line(line)));
        if !matches!(sent, Ok(Ok(()))) {
            self.shared.metrics.audit_lost.inc();
        }
    }
}

fn line(session: Option<&Arc<Session>>, seq: u64, count: u64, on: Option<On>) -> Line<'_> {
    let identity = session.map(|session| session.identity());
    Line {
        ts: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        namespace: identity.map(|identity| identity.namespace.as_str()),
        workspace: identity.map(|identity| identity.workspace.as_ref()),
        uid: identity.map(|identity| identity.workspace_uid.as_str()),
        seq,
        decision: "denied",
        count,
        on,
    }
}

impl On {
    fn new(reason: Reason, denial: &Denial) -> Self {
        Self {
            reason: reason.as_str(),
            rule: None,
            method: denial.method.chars().take(MAX_METHOD).collect(),
            host: denial.host.escape_default().take(MAX_NAME).collect(),
            port: denial.port,
            source: denial.source,
        }
    }
}

/// Writes until the last [`Audit`] is gone or the sink fails; then the lines that follow are counted as lost.
fn write(mut sink: impl Write, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.blocking_recv() {
        let written = match message {
            Message::Line(mut line) => {
                line.push(b'\n');
                sink.write_all(&line)
            }
            Message::Flush(done) => sink.flush().map(|()| done.send(()).unwrap_or_default()),
        };
        let flushed = if messages.is_empty() { sink.flush() } else { Ok(()) };
        if let Err(error) = written.and(flushed) {
            error!(%error, "cannot write the audit log");
            return;
        }
    }
}

#[cfg(test)]
mod tests;
