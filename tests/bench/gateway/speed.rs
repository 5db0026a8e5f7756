//! Requests a second, how long each takes, and megabytes a second.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;
use ws_tests::lab::Lab;

use super::{
    proxies::Proxy,
    stage::{DOWNLOAD, Stage},
};
use crate::{
    load::{Ask, HOST, Job, Measured, PASSED_HOST, Way},
    report::{Bar, Report, Samples, progress},
};

const ROUNDS: usize = 5;
const WARM: Duration = Duration::from_millis(500);
const TIME: Duration = Duration::from_secs(3);
const MANY: usize = 32;
const UPLOAD: u32 = 256 << 20;

/// What is measured beside each other.
struct Contest<'a> {
    what: String,
    job: Job,
    ours: Contender,
    /// With the bar of the rate, as ours / theirs.
    rivals: Vec<(&'a str, Contender, Option<Bar>)>,
}

/// Where a job goes for one contender.
#[derive(Clone)]
struct Contender {
    to: SocketAddr,
    way: Way,
    authority: Option<PathBuf>,
    greetings: Option<PathBuf>,
}

/// What one contender did in all rounds.
struct Figures {
    rate: Samples,
    p50: Samples,
    p99: Samples,
}

pub(super) async fn measure(report: &mut Report, lab: &Lab, stage: &Stage) -> Result<()> {
    let gateway = Proxy::gateway(stage, lab).await?;
    let [squid, bump] = Proxy::squid(stage).await?;
    let mitmproxy = Proxy::mitmproxy(stage).await?;
    let passed = || Some(stage.hosts_authority.clone());
    for connections in [1, MANY] {
        let of = |proxy: &Proxy| Contender {
            to: proxy.address,
            way: Way::Forward,
            authority: None,
            greetings: proxy.greetings.clone(),
        };
        let contest = Contest {
            what: format!("plain http, {}", named(connections)),
            job: job(Ask::Small, connections),
            ours: of(&gateway),
            rivals: vec![(squid.name, of(&squid), Some(Bar::AtLeast(1.0)))],
        };
        contest.requests(report, stage).await?;
    }
    for connections in [1, MANY] {
        let of = |proxy: &Proxy| Contender {
            to: proxy.address,
            way: Way::Tunnel,
            authority: passed(),
            greetings: proxy.greetings.clone(),
        };
        let contest = Contest {
            what: format!("tunnel, passed through, {}", named(connections)),
            job: Job { host: PASSED_HOST.to_owned(), ..job(Ask::Small, connections) },
            ours: of(&gateway),
            rivals: vec![(squid.name, of(&squid), Some(Bar::AtLeast(1.0)))],
        };
        contest.requests(report, stage).await?;
    }
    let inspected = |proxy: &Proxy| Contender {
        to: proxy.address,
        way: Way::Tunnel,
        authority: Some(proxy.authority.clone()),
        greetings: proxy.greetings.clone(),
    };
    let contest = |what: String, job| Contest {
        what,
        job,
        ours: inspected(&gateway),
        rivals: vec![
            (mitmproxy.name, inspected(&mitmproxy), Some(Bar::AtLeast(3.0))),
            (bump.name, inspected(&bump), None),
        ],
    };
    for connections in [1, MANY] {
        contest(format!("inspected, {}", named(connections)), job(Ask::Small, connections))
            .requests(report, stage)
            .await?;
    }
    let fresh = Job { is_fresh: true, ..job(Ask::Small, 4) };
    contest("inspected, 4 clients, a connection each request".to_owned(), fresh)
        .requests(report, stage)
        .await?;
    let once = |ask| Job { warm: Duration::ZERO, time: Duration::ZERO, ..job(ask, 1) };
    let download = contest("inspected, download of 256 MiB".to_owned(), once(Ask::Download));
    download.stream(report, stage, DOWNLOAD).await?;
    let mut upload = contest("inspected, upload of 256 MiB".to_owned(), once(Ask::Upload(UPLOAD)));
    // Squid 5.7 breaks uploads of this size off where it inspects them.
    upload.rivals.truncate(1);
    upload.stream(report, stage, UPLOAD).await?;
    let direct = Contender { to: Stage::web(true), way: Way::Direct, authority: passed(), greetings: None };
    added(report, stage, &inspected(&gateway), &direct).await?;
    for proxy in [gateway, squid, mitmproxy] {
        proxy.stop().await?;
    }
    Ok(())
}

fn named(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

fn job(ask: Ask, connections: usize) -> Job {
    Job {
        to: ([0, 0, 0, 0], 0).into(),
        way: Way::Direct,
        authority: None,
        greetings: None,
        host: HOST.to_owned(),
        ask,
        connections,
        sources: connections,
        apart: Duration::ZERO,
        warm: WARM,
        time: TIME,
        is_fresh: false,
        hold: false,
    }
}

impl Contest<'_> {
    /// Requests a second, and microseconds of each.
    async fn requests(&self, report: &mut Report, stage: &Stage) -> Result<()> {
        let (ours, theirs) =
            self.compete(stage, |measured| f64::from(measured.requests) / measured.seconds).await?;
        for ((name, _, bar), theirs) in self.rivals.iter().zip(&theirs) {
            let what = &self.what;
            report.ratio(what, "requests/s", (name, &theirs.rate), &ours.rate, *bar);
            report.ratio(&format!("{what}, p50"), "µs", (name, &theirs.p50), &ours.p50, None);
            let bar = bar.map(|_| Bar::AtMost(1.0));
            report.ratio(&format!("{what}, p99"), "µs", (name, &theirs.p99), &ours.p99, bar);
        }
        Ok(())
    }

    /// Megabytes a second.
    async fn stream(&self, report: &mut Report, stage: &Stage, size: u32) -> Result<()> {
        let (ours, theirs) = self.compete(stage, |measured| f64::from(size) / measured.p50).await?;
        for ((name, ..), theirs) in self.rivals.iter().zip(&theirs) {
            report.ratio(&self.what, "MB/s", (name, &theirs.rate), &ours.rate, None);
        }
        Ok(())
    }

    /// Lets all of them do the job in turn, each round in another order.
    async fn compete(
        &self,
        stage: &Stage,
        rate: impl Fn(&Measured) -> f64,
    ) -> Result<(Figures, Vec<Figures>)> {
        let all: Vec<&Contender> =
            std::iter::once(&self.ours).chain(self.rivals.iter().map(|(_, rival, _)| rival)).collect();
        let mut figures: Vec<Figures> = all.iter().map(|_| Figures::new()).collect();
        for round in 0..ROUNDS {
            for turn in 0..all.len() {
                let number = (round + turn) % all.len();
                let (Some(contender), Some(figures)) = (all.get(number), figures.get_mut(number)) else {
                    continue;
                };
                figures.push(&contender.measure(stage, &self.job).await?, &rate);
            }
        }
        let ours = figures.remove(0);
        Ok((ours, figures))
    }
}

impl Contender {
    async fn measure(&self, stage: &Stage, job: &Job) -> Result<Measured> {
        let Self { to, way, authority, greetings } = self.clone();
        let measured = stage.measure(&Job { to, way, authority, greetings, ..job.clone() }).await?;
        progress(&format!("{to}: {measured:?}"));
        Ok(measured)
    }
}

impl Figures {
    fn new() -> Self {
        Self { rate: Samples::new(), p50: Samples::new(), p99: Samples::new() }
    }

    fn push(&mut self, measured: &Measured, rate: impl Fn(&Measured) -> f64) {
        self.rate.push(rate(measured));
        self.p50.push(measured.p50);
        self.p99.push(measured.p99);
    }
}

/// What the gateway adds to a request that is alone, in microseconds.
async fn added(report: &mut Report, stage: &Stage, gateway: &Contender, direct: &Contender) -> Result<()> {
    let [mut p50, mut p99] = [const { Samples::new() }; 2];
    for _ in 0..ROUNDS {
        let (through, alone) = (
            gateway.measure(stage, &job(Ask::Small, 1)).await?,
            direct.measure(stage, &job(Ask::Small, 1)).await?,
        );
        p50.push(through.p50 - alone.p50);
        p99.push(through.p99 - alone.p99);
    }
    for (what, samples, bar) in [("p50", p50, 1_500.0), ("p99", p99, 6_000.0)] {
        let what = format!("inspected, 1 connection, added to {what} without a proxy");
        report.samples(&what, "µs", &samples, Some(Bar::AtMost(bar)));
    }
    Ok(())
}
