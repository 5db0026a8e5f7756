//! Measures ws beside its rivals: each figure is a ratio of medians from interleaved rounds of one run.
//!
//! Needs the lab with ws installed. Arguments pick benchmarks by name; none is all of them.

mod cold;
mod destroy;
mod report;
mod rival;
mod throughput;
mod upload;
mod writes;

use anyhow::{Result, ensure};

use crate::report::Report;

const ALL: [&str; 5] = ["cold", "throughput", "upload", "destroy", "writes"];

#[tokio::main]
async fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for name in &wanted {
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
            _ => writes::measure(&mut report).await?,
        }
    }
    report.print();
    Ok(())
}
