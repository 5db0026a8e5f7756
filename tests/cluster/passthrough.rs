//! Red team, A13: connections that are passed on uninspected end with their rule as well.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;
use ws_tests::wait::{PATIENCE, eventually};

use crate::way_out::{reading, with_rules};

const HOST: &str = "static.docs.example";

#[tokio::test]
#[ignore = "needs the lab"]
async fn a13_a_connection_that_is_passed_through_ends_within_five_seconds_when_its_rule_goes() -> Result<()> {
    let rules = json!([{
        "name": "opaque", "hosts": [HOST], "passthrough": {"acknowledged": "uninspected"}, "budget": {"upload": "64Ki"},
    }]);
    with_rules(rules, async |out| {
        // The host's own certificate, which only the gateway trusts.
        let download = format!("curl -sSk --no-buffer https://{HOST}/slow > ~/slow; echo ended $?");
        let download = out.bash(&download);
        let change = async {
            let size = async || {
                anyhow::Ok(out.bash("stat -c %s ~/slow || echo 0").await?.stdout.trim().parse::<u64>()?)
            };
            let grows_beyond = async |bytes: u64| {
                let grown = async || anyhow::Ok(Some(size().await?).filter(|size| *size > bytes));
                eventually(PATIENCE, "more of what is slow", grown).await
            };
            let some = grows_beyond(0).await?;
            let more = grows_beyond(some).await?;
            // Requests to the host may still be allowed: what is not looked into may go on by its own rule alone.
            out.set_rules(json!([reading("docs", &[HOST])])).await?;
            anyhow::Ok((Instant::now(), more))
        };
        let (ended, (changed, received)) = tokio::try_join!(download, change)?;
        ensure!(changed.elapsed() < Duration::from_secs(5), "it took {:?}", changed.elapsed());
        ensure!(ended.stdout.starts_with("ended ") && ended.stdout != "ended 0\n", "it is cut: {ended}");

        let decision = eventually(PATIENCE, "the decision on the connection", async || {
            let mut decisions = out.ws.decisions("out").await?.into_iter();
            anyhow::Ok(decisions.find(|decision| decision["rule"] == "opaque"))
        })
        .await?;
        let is = |field: &str, expected: &str| decision.get(field).is_some_and(|value| value == expected);
        ensure!(is("method", "CONNECT") && is("host", HOST), "{decision}");
        ensure!(is("decision", "allowed") && is("reason", "revoked"), "{decision}");
        let bytes = |field: &str| decision.get(field).and_then(Value::as_u64).context("a count");
        // TLS adds to what is said in it.
        ensure!(bytes("sentBytes")? > 0 && bytes("receivedBytes")? > received, "{decision}");
        Ok(())
    })
    .await
}
