//! Resident memory of the gateway: idle, with many tunnels, with many workspaces.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use ws_tests::lab::Lab;

use super::{
    objects::{Objects, SOURCES},
    proxies::{Proxy, resident},
    stage::Stage,
};
use crate::{
    load::{Ask, HOST, Job, Measured, Way},
    report::{Bar, Report, progress},
};

const TUNNELS: u16 = 1_000;
/// All of them are open before the first has waited too long for its next request.
const APART: Duration = Duration::from_millis(4);
const WORKSPACES: usize = 10_000;
/// After which what was only needed for a moment is given back.
const CALM: Duration = Duration::from_secs(2);

/// Of the gateways that the chart installed.
pub(super) fn idle(report: &mut Report, lab: &Lab) -> Result<()> {
    let mut most = f64::NAN;
    for process in fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()) {
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        if name.trim() == "ws-gateway" {
            most = most.max(resident(process)?);
        }
    }
    ensure!(!most.is_nan(), "no gateway runs in {}", lab.ws_namespace());
    figure(report, "resident memory, idle", most, 16.0);
    Ok(())
}

/// With tunnels that are open, inspected, and have each carried a request: opened one after another, and all at once.
pub(super) async fn tunnels(report: &mut Report, lab: &Lab, stage: &Stage) -> Result<()> {
    for (what, apart) in [("one after another", APART), ("at once", Duration::ZERO)] {
        open(report, lab, stage, what, apart).await?;
    }
    Ok(())
}

async fn open(report: &mut Report, lab: &Lab, stage: &Stage, what: &str, apart: Duration) -> Result<()> {
    let gateway = Proxy::gateway(stage, lab).await?;
    tokio::time::sleep(CALM).await;
    let before = gateway.resident()?;
    let job = Job {
        to: gateway.address,
        way: Way::Tunnel,
        authority: Some(gateway.authority.clone()),
        greetings: gateway.greetings.clone(),
        host: HOST.to_owned(),
        ask: Ask::Small,
        connections: TUNNELS.into(),
        sources: SOURCES,
        apart,
        warm: Duration::ZERO,
        time: Duration::ZERO,
        is_fresh: false,
        hold: true,
    };
    let mut load = stage.load(&job)?;
    let mut load = load.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(load.stdout.take().context("no output")?).lines();
    let said = lines.next_line().await?.context("the load ended")?;
    let measured: Measured = serde_json::from_str(&said)?;
    ensure!(measured.requests == u32::from(TUNNELS), "{said}");
    tokio::time::sleep(CALM).await;
    let after = gateway.resident()?;
    let held = gateway.connections(stage).await?;
    ensure!(held == u32::from(TUNNELS), "of {TUNNELS} tunnels, {held} are still open");
    drop(load.stdin.take());
    load.wait().await?;
    gateway.stop().await?;
    progress(&format!("{before} KiB before, {after} KiB with {TUNNELS} tunnels"));
    figure(report, &format!("resident memory, 1,000 inspected tunnels, opened {what}"), after, 64.0);
    report.figure("resident memory, a tunnel", "KiB", ((after - before) / f64::from(TUNNELS), 0), None);
    Ok(())
}

/// With workspaces of classes with as many rules as there may be, and their pods.
pub(super) async fn workspaces(
    report: &mut Report,
    lab: &Lab,
    stage: &Stage,
    objects: &Objects,
) -> Result<()> {
    let start = std::time::Instant::now();
    objects.fill(lab, WORKSPACES).await?;
    progress(&format!("created {WORKSPACES} workspaces in {:?}", start.elapsed()));
    let gateway = Proxy::gateway(stage, lab).await?;
    tokio::time::sleep(CALM).await;
    figure(report, "resident memory, 10,000 workspaces", gateway.resident()?, 100.0);
    Ok(())
}

/// So many KiB, and at most so many MiB of them.
fn figure(report: &mut Report, what: &str, kibibytes: f64, most: f64) {
    report.figure(what, "MiB", (kibibytes / 1024.0, 1), Some(Bar::AtMost(most)));
}
