//! The gateway beside Squid and mitmproxy: same machine, same network, same host behind them, same load.
//!
//! ```text
//! load, in the node's network ─▶ ws-gateway │ squid │ mitmdump, in the node's network ─▶ nginx, in the fake internet
//! ```
//!
//! The gateway is the real program with the cluster's API server; its workspaces are objects with a pod that nobody schedules
//! and an address that the load comes from. It leaves ws scaled down, so that nothing else works meanwhile: it has to be last.

use anyhow::Result;
use ws_tests::{lab::Lab, namespace::with_namespace};

use self::{objects::Objects, stage::Stage};
use crate::report::Report;

mod decision;
mod memory;
mod objects;
mod proxies;
mod speed;
mod stage;

/// How fast it is.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    decision::measure(report)?;
    on_stage(async |lab, stage, _| speed::measure(report, lab, stage).await).await
}

/// What it takes.
pub(crate) async fn measure_memory(report: &mut Report) -> Result<()> {
    memory::idle(report, &Lab::running().await?)?;
    on_stage(async |lab, stage, _| memory::tunnels(report, lab, stage).await).await
}

/// What it takes where there are many workspaces.
pub(crate) async fn measure_workspaces(report: &mut Report) -> Result<()> {
    on_stage(async |lab, stage, objects| memory::workspaces(report, lab, stage, objects).await).await
}

/// With workspaces whose addresses the load comes from, and nothing else that works.
async fn on_stage(measure: impl AsyncFnOnce(&Lab, &Stage, &Objects) -> Result<()>) -> Result<()> {
    stage::stop_ws(&Lab::running().await?).await?;
    with_namespace(async |lab, namespace| {
        let objects = Objects::create(lab, namespace).await?;
        let stage = Stage::set(lab, objects.greetings()).await?;
        measure(lab, &stage, &objects).await
    })
    .await
}
