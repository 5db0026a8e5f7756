//! Red team, B04: a host is who the name in its certificate says, and whoever cannot show that gets neither the request nor the
//! credential in it.

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{
    probe::{WEB, canary, open_pod},
    wait::{PATIENCE, eventually},
};

use crate::{
    audited::are_told,
    egress::OPEN,
    way_out::{CREDENTIAL, SECRET, with_rules},
};

/// Hosts that cannot show who they are, and what the gateway finds wrong.
const HOSTS: [(&str, &str); 3] = [
    ("misnamed.example", "certificate not valid for name"),
    ("unvouched.example", "UnknownIssuer"),
    ("expired.example", "certificate expired"),
];
/// A host that can.
const PROVEN: &str = "api.example";

/// B04 asks that a request for one host does not end at another. Within the workspace's tunnel the names are compared; on the way out it
/// is the certificate that keeps whoever answers at a host's address from being taken for the host.
#[tokio::test]
#[ignore = "needs the lab"]
async fn b04_a_host_that_cannot_show_who_it_is_gets_neither_request_nor_credential() -> Result<()> {
    let hosts: Vec<&str> = HOSTS.iter().map(|(host, _)| *host).chain([PROVEN]).collect();
    let rules = json!([{
        "name": "api", "hosts": hosts, "credential": {"secretName": SECRET, "key": "key"},
        "allow": [{"methods": ["GET"], "paths": ["/**"]}],
    }]);
    with_rules(rules, async |out| {
        let fetch = async |host: &str, path: &str| {
            out.bash(&format!("curl -sS -i --max-time 20 https://{host}{path}")).await?.ok()
        };
        let control = format!("/{}", canary()?);
        fetch(PROVEN, &control).await?;
        let arrived = out.lab.asked(&control)?;
        let with_credential = format!("Bearer {CREDENTIAL}");
        ensure!(arrived.iter().any(|request| request["authorization"] == with_credential), "{arrived:?}");

        open_pod(out.lab, out.namespace, OPEN).await?;
        for (host, problem) in HOSTS {
            let path = format!("/{}", canary()?);
            let refused = fetch(host, &path).await?;
            let says = |text: &str| refused.stdout.contains(text);
            ensure!(says(" 502") && says("x-ws-denied: unreachable"), "{host}: {refused}");
            ensure!(says("invalid peer certificate") && says(problem), "{host}: {refused}");
            are_told(out, &[(host, "unreachable")]).await?;
            ensure!(out.lab.asked(&path)?.is_empty(), "{host} was asked: {:?}", out.lab.asked(&path)?);

            // The control: it answers whoever does not look at its certificate, and tells nobody else apart.
            let line = format!("curl -sSk --max-time 20 --resolve {host}:443:{WEB} https://{host}{path}");
            let exec = ["-n", out.namespace, "exec", OPEN, "--", "bash", "-c", &line];
            let shown = out.lab.kubectl(&exec).await?.ok()?;
            ensure!(shown.stdout.contains("ws-lab unproven"), "{host}: {shown}");
            let arrived = eventually(PATIENCE, "the control's request in the log", async || {
                let arrived = out.lab.asked(&path)?;
                anyhow::Ok((!arrived.is_empty()).then_some(arrived))
            })
            .await?;
            // Also what comes late would be there by now.
            ensure!(arrived.len() == 1, "{host} was asked by the gateway: {arrived:?}");
        }
        Ok(())
    })
    .await
}
