//! Measures ws beside its rivals: each figure is a ratio of medians from interleaved rounds of one run.
//!
//! Needs the lab with ws installed. Arguments pick benchmarks by name; none is all of them.

mod cold;
mod destroy;
mod gateway;
mod load;
mod report;
mod rival;
mod throughput;
mod upload;
mod writes;

use anyhow::{Result, ensure};

use crate::report::Report;

/// Those of the gateway last: they leave ws scaled down, and the very last a cluster that clears away ten thousand workspaces.
const ALL: [&str; 8] =
    ["cold", "throughput", "upload", "destroy", "writes", "memory", "gateway", "workspaces"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, job] = arguments.as_slice()
        && command == "load"
    {
        return load::main(job);
    }
    tokio::runtime::Runtime::new()?.block_on(measure(&arguments))
}

async fn measure(wanted: &[String]) -> Result<()> {
    for name in wanted {
        ensure!(ALL.contains(&name.as_str()), "no benchmark is named `{name}`: there are {}", ALL.join(", "));
    }
    let mut report = Report::default();
    for name in ALL.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
    {
        report::progress(name);
        match name {
            "cold" => cold::measure(&mut report).await?,
            "throughput" => throughput::measure(&mut report).await?,
            "upload" => upload::measure(&mut report).await?,
            "destroy" => destroy::measure(&mut report).await?,
            "writes" => writes::measure(&mut report).await?,
            "memory" => gateway::measure_memory(&mut report).await?,
            "gateway" => gateway::measure(&mut report).await?,
            _ => gateway::measure_workspaces(&mut report).await?,
        }
    }
    report.print();
    Ok(())
}
