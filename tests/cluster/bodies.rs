//! Red team, group B: bodies that cost who reads them (B22), and what stands where a credential would be (B23).

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use ws_tests::{probe::canary, spelling};

use crate::{
    audited::these_alone_are_told,
    spellings::arrived,
    way_out::{CREDENTIAL, SECRET, with_rules},
};

const ANTHROPIC: &str = "api.anthropic.com";
const DOCS: &str = "docs.example";
/// What stands in an agent's environment where a credential would be. It is no secret, and nothing takes its place wherever it is sent: a
/// credential is put in by the rule that allows a request, whatever the client sent.
const PLACEHOLDER: &str = "ws-credential:anthropic";

#[tokio::test]
#[ignore = "needs the lab"]
async fn b22_a_body_that_costs_who_reads_it_is_refused_soon() -> Result<()> {
    // It takes milliseconds. Reading any of them as it wants to be read would take far longer, or more than a gateway has.
    const SOON: f64 = 5.0;
    const BODIES: [(&str, &str, &str); 4] = [
        ("many MiB in one", "head -c 256M /dev/zero | gzip -1 | head -c 1M", "-H 'Content-Encoding: gzip'"),
        ("many lists in each other", "printf '[%.0s' $(seq 100000)", ""),
        ("many objects in each other", "printf '{\"a\":%.0s' $(seq 100000)", ""),
        ("a long number", "printf '{\"model\": '; head -c 1M /dev/zero | tr '\\0' 9; printf '}'", ""),
    ];
    let credential = json!({"secretName": SECRET, "key": "key"});
    let rule =
        json!({"name": "anthropic", "preset": "anthropic", "credential": credential, "models": ["claude-*"]});
    with_rules(json!([rule]), async |out| {
        for (what, body, more) in BODIES {
            let line = format!(
                "{{ {body}; }} > ~/body; curl -sS -o /dev/null -w '%{{http_code}} %{{time_total}}' --http1.1 --max-time 20 {more} \
                     https://{ANTHROPIC}/v1/messages -H 'Content-Type: application/json' --data-binary @$HOME/body; true"
            );
            let told = out.bash(&line).await?.ok()?;
            let (status, time) = told.stdout.split_once(' ').context(told.to_string())?;
            ensure!(matches!(status, "403" | "413" | "415"), "{what}: {told}");
            ensure!(time.parse::<f64>()? < SOON, "{what} took {time} seconds");
        }
        let expected = [(ANTHROPIC, "encoded-body", 1), (ANTHROPIC, "body-rule", 3)];
        these_alone_are_told(out, &expected).await?;
        let canary = canary()?;
        let message = json!({"model": "claude-sonnet-4-5", "max_tokens": 16, "messages": [{"role": "user", "content": canary}]});
        let control = format!("curl -sS -f -o /dev/null https://{ANTHROPIC}/v1/messages -d '{message}'");
        out.bash(&control).await?.ok()?;
        ensure!(out.lab.asked_of_models(&canary)?.len() == 1, "the control arrives");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b23_a_placeholder_goes_nowhere_and_buys_nothing() -> Result<()> {
    let credential = json!({"secretName": SECRET, "key": "key"});
    let rules = json!([
        {"name": "anthropic", "preset": "anthropic", "credential": credential, "models": ["claude-*"]},
        {"name": "docs", "hosts": [DOCS], "allow": [{"methods": ["GET"], "paths": ["/**"], "query": ["*"], "headers": [{"name": "accept"}]}]},
    ]);
    with_rules(rules, async |out| {
        let canary = canary()?;
        let encoded = "ws%2Dcredential%3aanthropic";
        let line = format!(
            "for url in {canary}/{PLACEHOLDER} {canary}/x{encoded} {canary}?key={PLACEHOLDER} {canary}?{encoded}=1 {canary}/else; do \
                 curl -sS -o /dev/null -w '%{{http_code}} ' \"https://{DOCS}/$url\" -H \"Accept: {PLACEHOLDER}\" \
                     -H \"Authorization: Bearer {PLACEHOLDER}\" -H \"X-Api-Key: {PLACEHOLDER}\" -H \"Cookie: key={PLACEHOLDER}\"; done"
        );
        let told = out.bash(&line).await?.ok()?;
        ensure!(told.stdout == "403 403 403 403 404 ", "the last is the control, a request like any other: {told}");
        let requests = arrived(out, &canary)?;
        ensure!(requests.len() == 1, "{requests:?}");
        for request in &requests {
            let sent = request.to_string();
            ensure!(!sent.contains("ws-credential"), "a placeholder went along: {sent}");
            ensure!(!spelling::holds(&sent, CREDENTIAL), "a credential went along: {sent}");
            let is_bare = ["authorization", "apiKey", "cookie"].iter().all(|field| matches!(request[*field].as_str(), Some("" | "-")));
            ensure!(is_bare, "{sent}");
        }
        these_alone_are_told(out, &[(DOCS, "misplaced-placeholder", 4), (DOCS, "docs", 1)]).await
    })
    .await
}
