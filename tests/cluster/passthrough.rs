//! Red team, A13: connections that are passed on uninspected end with their rule as well.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    class::reading,
    wait::{PATIENCE, eventually},
};

use crate::way_out::{is_cut, with_rules};

const HOST: &str = "static.docs.example";

#[tokio::test]
#[ignore = "needs the lab"]
async fn a13_a_connection_that_is_passed_through_ends_within_five_seconds_when_its_rule_goes() -> Result<()> {
    let rules = json!([{
        "name": "opaque", "hosts": [HOST], "passthrough": {"acknowledged": "uninspected"}, "budget": {"upload": "64Ki"},
    }]);
    with_rules(rules, async |out| {
        // The host's own certificate, which only the gateway trusts.
        let fetch = format!("curl -sSk --no-buffer https://{HOST}/slow");
        // Requests to the host may still be allowed: what is not looked into may go on by its own rule alone.
        let received = is_cut(out, &fetch, json!([reading("docs", &[HOST])])).await?;
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
