//! The load generator: a closed loop of requests over connections that stay open, the same for whatever is measured.
//!
//! It is this program once more, as a process of its own in the node's network: `bench load JOB` with a [`Job`] as JSON, which
//! prints [`Measured`] as JSON. One thread, so that the proxies have the other core.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

mod body;
mod connection;

use self::connection::Connector;

/// Name and ports of the host that is asked.
pub(crate) const HOST: &str = "docs.example";
/// The same host by a name that a rule passes through uninspected.
pub(crate) const PASSED_HOST: &str = "static.docs.example";
pub(crate) const HTTP_PORT: u16 = 8080;
pub(crate) const HTTPS_PORT: u16 = 8443;
/// Where the load comes from: see [`source`].
pub(crate) const SOURCE_NETWORK: &str = "10.123.0.0/16";
/// Requests of one job, at most.
const MOST: u64 = 200_000;
/// Failures after which a connection is given up.
const PATIENCE: u32 = 100;

/// What to ask for, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    /// The proxy; of [`Way::Direct`], the host.
    pub(crate) to: SocketAddr,
    pub(crate) way: Way,
    /// PEM file of the authority that vouches for whoever ends TLS. None: plain http.
    pub(crate) authority: Option<PathBuf>,
    /// File with what connections begin with, that of one source after the other; none: nothing.
    pub(crate) greetings: Option<PathBuf>,
    /// Name of the host.
    pub(crate) host: String,
    pub(crate) ask: Ask,
    pub(crate) connections: usize,
    /// Each from an address of its own, as those of so many workspaces are.
    pub(crate) sources: usize,
    /// Time from the beginning of one connection to that of the next.
    pub(crate) apart: Duration,
    /// Time before anything is counted.
    pub(crate) warm: Duration,
    /// Time for which requests are begun; none: each connection asks once.
    pub(crate) time: Duration,
    /// Each request on a connection of its own.
    pub(crate) is_fresh: bool,
    /// Connections are held open until standard input ends.
    pub(crate) hold: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Way {
    Direct,
    /// The whole URL to the proxy (RFC 9112, section 3.2.2).
    Forward,
    /// CONNECT (RFC 9110, section 9.3.6).
    Tunnel,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Ask {
    Small,
    Download,
    /// So many bytes.
    Upload(u32),
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) requests: u32,
    pub(crate) failures: u32,
    /// Why the first of them failed.
    pub(crate) failure: Option<String>,
    pub(crate) seconds: f64,
    /// Microseconds of a request: median and 99th percentile.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What one connection did.
#[derive(Default)]
struct Done {
    took: Vec<Duration>,
    failures: u32,
    failure: Option<anyhow::Error>,
}

/// The address that a connection comes from.
pub(crate) fn source(number: usize) -> Ipv4Addr {
    let [_, _, high, low] = u32::try_from(number + 1).unwrap_or(u32::MAX).to_be_bytes();
    Ipv4Addr::new(10, 123, high, low)
}

/// Does the job that is written on the command line.
#[expect(clippy::print_stdout, reason = "the result of the process")]
pub(crate) fn main(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job).context("no job")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let work = async {
        let connector = Connector::new(&job)?;
        let connections = (0..job.connections).map(|number| hammer(&job, &connector, number));
        let began = Instant::now() + job.warm;
        let (done, open): (Vec<_>, Vec<_>) = join_all(connections).await.into_iter().unzip();
        println!("{}", serde_json::to_string(&measured(done, began.elapsed())?)?);
        if job.hold {
            tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
        }
        drop(open);
        anyhow::Ok(())
    };
    runtime.block_on(work)
}

/// Asks on one connection, anew where it breaks, until the time is over.
async fn hammer(job: &Job, connector: &Connector, number: usize) -> (Done, Option<connection::Open>) {
    let mut done = Done::default();
    let mut open = None;
    tokio::time::sleep(job.apart * u32::try_from(number).unwrap_or(u32::MAX)).await;
    let begin = Instant::now() + job.warm;
    let end = begin + job.time;
    for _ in 0..MOST / job.connections as u64 {
        let start = Instant::now();
        let answered = async {
            let connection = match &mut open {
                Some(connection) if !job.is_fresh => connection,
                open => open.insert(connector.open(number % job.sources).await?),
            };
            let status = connection.ask(job, number).await?;
            ensure!(status.is_success(), "answered {status}");
            anyhow::Ok(())
        };
        match answered.await {
            Ok(()) if start >= begin => done.took.push(start.elapsed()),
            Ok(()) => (),
            Err(error) => {
                done.failures += 1;
                done.failure.get_or_insert(error);
                open = None;
            }
        }
        if Instant::now() >= end || done.failures == PATIENCE {
            break;
        }
    }
    (done, open)
}

fn measured(done: Vec<Done>, took: Duration) -> Result<Measured> {
    let failures = done.iter().map(|done| done.failures).sum();
    let (took_each, reasons): (Vec<_>, Vec<_>) =
        done.into_iter().map(|done| (done.took, done.failure)).unzip();
    let mut micros: Vec<f64> = took_each.into_iter().flatten().map(|took| took.as_secs_f64() * 1e6).collect();
    let failure = reasons.into_iter().flatten().next().map(|error| format!("{error:#}"));
    ensure!(!micros.is_empty(), "no request was answered: {}", failure.unwrap_or_default());
    micros.sort_by(f64::total_cmp);
    let at =
        |hundredths: usize| micros.get((micros.len() - 1) * hundredths / 100).copied().unwrap_or(f64::NAN);
    let (p50, p99) = (at(50), at(99));
    Ok(Measured {
        requests: u32::try_from(micros.len())?,
        failures,
        failure,
        seconds: took.as_secs_f64(),
        p50,
        p99,
    })
}
