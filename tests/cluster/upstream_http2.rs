//! HTTP/2 on the way out: the gateway speaks it to whoever offers it, whatever its client speaks, and what comes slowly comes as it is
//! sent.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    class::reading,
    probe::canary,
    wait::{PATIENCE, eventually},
};

use crate::way_out::{SECRET, with_rules};

const PAGES: &str = "docs.example";
const MODEL: &str = "https://api.anthropic.com/v1/messages";

#[tokio::test]
#[ignore = "needs the lab"]
async fn the_gateway_speaks_http2_to_a_host_that_offers_it() -> Result<()> {
    with_rules(json!([reading("docs", &[PAGES])]), async |out| {
        for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let path = format!("/{}", canary()?);
            let curl = format!("curl -sS -o /dev/null -w '%{{http_version}} %{{http_code}}' {option}");
            let fetched = out.bash(&format!("{curl} --max-time 20 https://{PAGES}{path}")).await?.ok()?;
            ensure!(fetched.stdout == format!("{version} 404"), "{option}: {fetched}");
            let asked = out.lab.asked(&path)?;
            let expected = format!("GET {path} HTTP/2.0");
            ensure!(matches!(&asked[..], [request] if request["request"] == expected), "{option}: {asked:?}");
        }
        Ok(())
    })
    .await
}

/// Prints each line that comes with the time at which it came.
const WITH_TIMES: &str = r#"while read -r line; do printf '%s %s\n' "$(date +%s.%N)" "$line"; done"#;

#[tokio::test]
#[ignore = "needs the lab"]
async fn the_first_event_of_an_answer_arrives_before_the_last_is_sent_with_http2_on_both_sides() -> Result<()>
{
    let credential = json!({"secretName": SECRET, "key": "key"});
    let rules = json!([{"name": "model", "preset": "anthropic", "credential": credential}]);
    with_rules(rules, async |out| {
        let marker = canary()?;
        let body = json!({
            "model": "claude-sonnet-4-5", "max_tokens": 16, "stream": true,
            "messages": [{"role": "user", "content": format!("task:slowly {marker}")}],
        });
        let curl = format!(
            "curl -sS --http2 -N --max-time 60 {MODEL} -H 'content-type: application/json' -d '{body}' \
                 -w '\\nversion %{{http_version}} %{{http_code}}\\n'"
        );
        let streamed = out.bash(&format!("{curl} | {WITH_TIMES}")).await?.ok()?;
        let came = |what: &str| {
            let line = streamed.stdout.lines().find_map(|line| line.split_once(what));
            line.with_context(|| format!("no {what}: {streamed}"))
        };
        came(" version 2 200")?;
        came(" event: message_stop")?;
        let first: f64 = came(" event: message_start")?.0.parse()?;
        // It is written down when all is sent, by the same clock. Between two events are two seconds.
        let request = eventually(PATIENCE, "the request in the log", async || {
            anyhow::Ok(out.lab.asked_of_models(&marker)?.pop())
        })
        .await?;
        ensure!(first + 1.0 < request.at, "it was held back: {streamed} {request:?}");
        let protocol = request.headers.get("x-protocol").map(String::as_str);
        ensure!(protocol == Some("HTTP/2.0"), "{request:?}");
        let sent: Value = serde_json::from_str(&request.body)?;
        ensure!(sent == body, "{request:?}");
        Ok(())
    })
    .await
}
