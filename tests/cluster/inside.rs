//! Red team, B14: names whose owner points them inside. Only an address that was checked is dialled.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{
    class::reading,
    lab::Arrival,
    probe::{canary, open_pod},
    wait::{PATIENCE, eventually},
};

use crate::{
    audited::these_alone_are_told,
    egress::{COMPANY, OPEN, arrivals_from},
    way_out::with_rules,
};

/// The servers inside that write down who comes: the company's, and what stands where clouds give their machines credentials.
const INSIDE: [&str; 2] = [COMPANY, "169.254.169.254"];

fn is_at(arrival: &Arrival, address: &str) -> bool {
    arrival.local.ip().to_canonical().to_string() == address
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b14_a_name_that_leads_inside_is_no_way_out() -> Result<()> {
    let hosts = ["rebound.example", "metadata.example", "cluster.example", "loopback.example"];
    let rules = json!([
        reading("tls", &hosts),
        {"name": "plain", "hosts": hosts, "scheme": "http", "allow": [{"methods": ["GET"], "paths": ["/**"]}]},
    ]);
    with_rules(rules, async |out| {
        let (hidden, shown, began) = (canary()?, canary()?, SystemTime::now());
        for host in hosts {
            for scheme in ["http", "https"] {
                let line = format!("curl -sS -i --max-time 20 {scheme}://{host}/{hidden}");
                let got = out.bash(&line).await?;
                ensure!(got.stdout.contains("x-ws-denied: special-address"), "{scheme} {host}: {got}");
            }
        }
        these_alone_are_told(out, &hosts.map(|host| (host, "special-address", 2))).await?;
        let gateways = out.lab.gateways().await?;
        let mut arrived = out.lab.arrivals(began, |sender| gateways.contains(&sender))?;
        arrived.extend(arrivals_from(out.lab, out.namespace, "out", began).await?);
        arrived.retain(|arrival| INSIDE.iter().any(|address| is_at(arrival, address)));
        ensure!(arrived.is_empty() && !out.lab.has_sunk(&hidden)?, "inside arrived {arrived:?}");

        // The control: whoever dials what these names say gets there, also to the API server, which says no.
        open_pod(out.lab, out.namespace, OPEN).await?;
        let [company, metadata] = INSIDE;
        let line = format!(
            "curl -sSk --max-time 20 --resolve rebound.example:80:{company} --resolve metadata.example:80:{metadata} \
                 --resolve cluster.example:443:10.96.0.1 http://rebound.example/{shown} http://metadata.example/{shown} \
                 https://cluster.example/"
        );
        let exec = ["-n", out.namespace, "exec", OPEN, "--", "bash", "-c", &line];
        let got = out.lab.kubectl(&exec).await?.ok()?;
        let is_answered = got.stdout.matches("ws-lab ").count() == INSIDE.len();
        ensure!(is_answered && got.stdout.contains("\"Status\""), "{got}");
        eventually(PATIENCE, "the control's connections", async || {
            let arrived = arrivals_from(out.lab, out.namespace, OPEN, began).await?;
            let is_reached = |address: &&str| arrived.iter().any(|arrival| is_at(arrival, address));
            anyhow::Ok((INSIDE.iter().all(is_reached) && out.lab.sunk()?.contains(&shown)).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b14_of_a_name_that_leads_inside_and_outside_only_what_is_outside_is_asked() -> Result<()> {
    const TIMES: usize = 20;
    let host = "mixed.example";
    let rules = json!([{"name": "plain", "hosts": [host], "scheme": "http", "allow": [{"methods": ["GET"], "paths": ["/**"]}]}]);
    with_rules(rules, async |out| {
        let canary = canary()?;
        // All at once, so that the gateway has to dial for each.
        let line = format!(
            "for number in $(seq {TIMES}); do curl -sS --max-time 20 -o /dev/null -w '%{{http_code}}\\n' \
                 http://{host}/{canary}/$number & done; wait"
        );
        let got = out.bash(&line).await?.ok()?;
        ensure!(got.stdout == "404\n".repeat(TIMES), "{got}");
        ensure!(out.lab.asked(&format!("/{canary}"))?.len() == TIMES, "the host outside got them all");
        ensure!(!out.lab.has_sunk(&canary)?, "the company was asked");
        these_alone_are_told(out, &[(host, "plain", TIMES)]).await?;
        // The control: the company would have answered.
        open_pod(out.lab, out.namespace, OPEN).await?;
        let line = format!("curl -sS --max-time 20 --resolve {host}:80:{COMPANY} http://{host}/{canary}");
        let exec = ["-n", out.namespace, "exec", OPEN, "--", "bash", "-c", &line];
        let shown = out.lab.kubectl(&exec).await?.ok()?;
        ensure!(shown.stdout.contains("ws-lab") && out.lab.sunk()?.contains(&canary), "{shown}");
        Ok(())
    })
    .await
}
