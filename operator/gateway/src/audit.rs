//! The audit log: one JSON object a line, for each decision, each with the hash of the one before it. No query, no body, no header's
//! value, and of a path the pattern that it fits.
//!
//! It never makes a request wait: of a workspace that floods it, a line a second for each rule and reason sums up the rest, with its
//! bytes, and what a stuck reader leaves no room for is dropped and counted. Gaps in `seq` show both.

use std::{
    io::{BufWriter, Write},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;
use ws_policy::{decide::Allowed, host::MAX_NAME, path::Path};

mod burst;
mod chain;

pub use burst::Burst;
use ws_api::reason::Reason;

use crate::{
    audit::{
        burst::{Admission, Entry, REFILL, Sum, Traffic},
        chain::Chain,
    },
    metrics::{Decision, Metrics},
    session::{Session, lock},
};

/// Lines that wait for the reader of the log.
const BACKLOG: usize = 4_096;
const MAX_METHOD: usize = 32;
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Subject {
    pub method: String,
    /// Canonical, or hostile as far as it could not be read.
    pub host: String,
    pub port: Option<u16>,
    pub source: IpAddr,
}

/// What became of a request or a connection that was allowed.
#[derive(Clone, Debug)]
pub struct Passage {
    pub rule: String,
    /// The rule's pattern that the path fits.
    pub path: Option<String>,
    /// Of the answer; none: there was none, or it is no request.
    pub status: Option<StatusCode>,
    /// Whether it was answered that there is no such thing, by a rule that counts that.
    pub is_missing: bool,
    /// Why it did not come to its end.
    pub failure: Option<Reason>,
    /// Whether the gateway put a credential in.
    pub has_credential: bool,
    /// Whether its rule lets it send more than a head.
    pub sends: bool,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub took: Duration,
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
    decision: Decision,
    /// How many decisions the line stands for.
    count: u64,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What {
    One(On),
    /// Of several.
    All(Summary),
}

/// What several decisions have in common that got no line of their own.
#[derive(Serialize)]
struct Summary {
    reason: Option<Reason>,
    rule: Option<String>,
    /// Of what was allowed.
    #[serde(flatten)]
    traffic: Option<Traffic>,
}

#[derive(Serialize)]
struct On {
    reason: Option<Reason>,
    /// The rule that allowed it.
    rule: Option<String>,
    method: String,
    host: String,
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    source: IpAddr,
    #[serde(flatten)]
    passed: Option<Passed>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Passed {
    status: Option<u16>,
    credential: bool,
    #[serde(flatten)]
    traffic: Traffic,
    milliseconds: u64,
}

impl Passage {
    /// Of what has just been allowed.
    pub fn of(allowed: &Allowed, path: Option<&Path>, has_credential: bool) -> Self {
        let sends = allowed
            .allowance()
            .is_none_or(|allowance| allowance.body.is_some() || allowance.web_socket.is_some());
        Self {
            sends,
            rule: allowed.rule().name.clone(),
            path: path.and_then(|path| allowed.path_pattern(path)),
            status: None,
            is_missing: false,
            failure: None,
            has_credential,
            sent_bytes: 0,
            received_bytes: 0,
            took: Duration::ZERO,
        }
    }
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
    pub fn denied(&self, session: Option<&Arc<Session>>, reason: Reason, subject: &Subject) {
        self.record(session, Decision::Denied, false, On { reason: Some(reason), ..On::of(subject) });
    }

    /// Records what was allowed, when it is over.
    pub fn allowed(&self, session: &Arc<Session>, subject: &Subject, passage: Passage) {
        let Passage { sends, sent_bytes, received_bytes, .. } = passage;
        let on = On {
            reason: passage.failure,
            rule: Some(passage.rule),
            path: passage.path,
            passed: Some(Passed {
                status: passage.status.map(|status| status.as_u16()),
                credential: passage.has_credential,
                traffic: Traffic { sent_bytes, received_bytes },
                milliseconds: u64::try_from(passage.took.as_millis()).unwrap_or(u64::MAX),
            }),
            ..On::of(subject)
        };
        self.record(Some(session), Decision::Allowed, sends, on);
    }

    fn record(&self, session: Option<&Arc<Session>>, decision: Decision, sends: bool, on: On) {
        let traffic = on.passed.as_ref().map(|passed| passed.traffic).unwrap_or_default();
        let entry = Entry { decision, rule: on.rule.as_deref(), reason: on.reason, sends, traffic };
        // Until its line is where it goes, so that lines are in the order of their numbers: who follows would miss one that is late.
        let mut burst = self.burst(session);
        let admission = burst.admit(entry, Instant::now());
        let (Admission::Write { seq } | Admission::Hold { seq, .. }) = admission;
        let Some(line) = self.line(session, decision, (seq, 1), What::One(on)) else { return };
        if let Some(session) = session {
            session.decisions().push(seq, &line);
        }
        match admission {
            Admission::Write { .. } => self.send(line),
            Admission::Hold { first: false, .. } => (),
            Admission::Hold { first: true, .. } => {
                let (audit, session) = (self.clone(), session.cloned());
                self.shared.summaries.spawn(async move { audit.summarize(session, decision).await });
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

    async fn summarize(&self, session: Option<Arc<Session>>, decision: Decision) {
        self.shared.closing.run_until_cancelled(sleep(REFILL)).await;
        let held = self.burst(session.as_ref()).release(decision);
        for Sum { rule, reason, count, traffic } in held.sums {
            let traffic = (decision == Decision::Allowed).then_some(traffic);
            let all = What::All(Summary { reason, rule, traffic });
            if let Some(line) = self.line(session.as_ref(), decision, (held.seq, count), all) {
                self.send(line);
            }
        }
    }

    /// A line, with its number and how many decisions it stands for.
    fn line(
        &self,
        session: Option<&Arc<Session>>,
        decision: Decision,
        (seq, count): (u64, u64),
        what: What,
    ) -> Option<Vec<u8>> {
        let identity = session.map(|session| session.identity());
        let line = serde_json::to_vec(&Line {
            ts: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            namespace: identity.map(|identity| identity.namespace.as_str()),
            workspace: identity.map(|identity| identity.workspace.as_ref()),
            uid: identity.map(|identity| identity.workspace_uid.as_str()),
            seq,
            decision,
            count,
            what,
        });
        if line.is_err() {
            self.shared.metrics.audit_lost.inc();
        }
        line.ok()
    }

    fn burst<'a>(&'a self, session: Option<&'a Arc<Session>>) -> MutexGuard<'a, Burst> {
        session.map_or_else(|| lock(&self.shared.strangers), |session| session.burst())
    }

    fn send(&self, line: Vec<u8>) {
        if self.shared.lines.try_send(Message::Line(line)).is_err() {
            self.shared.metrics.audit_lost.inc();
        }
    }
}

impl On {
    fn of(subject: &Subject) -> Self {
        Self {
            reason: None,
            rule: None,
            method: subject.method.chars().take(MAX_METHOD).collect(),
            host: subject.host.escape_default().take(MAX_NAME).collect(),
            port: subject.port,
            path: None,
            source: subject.source,
            passed: None,
        }
    }
}

/// Writes until the last [`Audit`] is gone or the sink fails; then the lines that follow are counted as lost.
fn write(mut sink: impl Write, mut messages: mpsc::Receiver<Message>) {
    let mut chain = Chain::default();
    while let Some(message) = messages.blocking_recv() {
        let written = match message {
            Message::Line(line) => {
                let mut line = chain.link(line);
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
