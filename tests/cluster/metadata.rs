//! Red team, A08: the services from which a cloud's machines have their credentials, in every spelling. A name that leads there is
//! B14's.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::process::Child;
use ws_tests::{
    class::reading,
    lab::Lab,
    probe::{Target, canary},
    raw::{Vector, answers},
};

use crate::{
    audited::{each_refusal_is_told, these_alone_are_told},
    egress::only_the_open_pod_reaches,
    lateral::server_on_the_node,
    way_out::with_rules,
};

/// Another cloud's, which the lab lacks by itself.
const WIRE_SERVER: &str = "168.63.129.16";
/// Spellings of 169.254.169.254 that a C library takes for it.
const OF_THE_LIBRARY: [&str; 7] = [
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "025177524776",
    "169.254.43518",
    "0xa9.0xfe.0xa9fe",
    "::ffff:169.254.169.254",
];
/// Hosts of requests that lead to such a service, with some program.
const SPELLINGS: [&str; 18] = [
    "169.254.169.254",
    "169.254.169.254.",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "025177524776",
    "169.254.43518",
    "169.16689662",
    "0xa9.0xfe.0xa9fe",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fe80::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "169.254.20.10",
    "100.100.100.200",
    WIRE_SERVER,
];

#[tokio::test]
#[ignore = "needs the lab"]
async fn a08_the_metadata_service_is_out_of_reach() -> Result<()> {
    let mut servers: Vec<Child> = Vec::new();
    only_the_open_pod_reaches(async |lab, _| {
        let address = format!("{WIRE_SERVER}/32");
        let add = ["exec", "ws-node", "--", "ip", "address", "replace", &address, "dev", "metadata"];
        Lab::command(&add, Duration::from_secs(10)).await?.ok()?;
        servers.push(server_on_the_node(lab, WIRE_SERVER, 80)?);
        let addresses = lab.addresses.metadata.iter().map(String::as_str);
        let addresses = addresses.chain(OF_THE_LIBRARY).chain([WIRE_SERVER]);
        Ok(addresses.map(|address| Target::tcp(address, 80, "GET / HTTP/1.0\r\n\r\n")).collect())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a08_nor_does_the_gateway_lead_there() -> Result<()> {
    with_rules(json!([reading("docs", &["docs.example"])]), async |out| {
        let (canary, began) = (canary()?, SystemTime::now());
        let vectors: Vec<_> = SPELLINGS
            .iter()
            .flat_map(|host| {
                let get = format!("GET http://{host}/latest/{canary} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let tunnel = format!("CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n");
                [Vector::plain(get), Vector::plain(tunnel)]
            })
            .collect();
        let refusals = answers(&out.ws, "out", &vectors).await?;
        for (index, answer) in refusals.iter().enumerate() {
            let is_refused = answer.status() == Some(403) && answer.reasons().eq(["ip-literal"]);
            ensure!(is_refused, "{} in way {}: {answer}", SPELLINGS[index / 2], index % 2);
        }
        each_refusal_is_told(out, &refusals).await?;
        ensure!(!out.lab.has_sunk(&canary)?, "it arrived");
        let gateways = out.lab.gateways().await?;
        let mut arrived = out.lab.arrivals(began, |sender| gateways.contains(&sender))?;
        arrived.retain(|arrival| out.lab.addresses.metadata.contains(&arrival.local.ip().to_string()));
        ensure!(arrived.is_empty(), "of a gateway arrived {arrived:?}");
        let control = out.bash("curl -sS https://docs.example/").await?.ok()?;
        ensure!(control.stdout.contains("ws-lab docs"), "the control: {control}");
        these_alone_are_told(out, &[("docs.example", "docs", 1)]).await
    })
    .await
}
