//! Red team, B20: what may be sent ends at its budget, however it is sent.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use ws_tests::probe::canary;

use crate::{audited::are_told, spellings::arrived, way_out::with_rules};

const HOST: &str = "api.example";
/// What a workspace may send in its life.
const BUDGET: u64 = 64 << 10;
const UPLOADS: usize = 32;
/// Bytes of one body: all together are twice the budget.
const BODY: usize = 4 << 10;

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_many_uploads_at_once_and_by_both_protocols_share_one_budget() -> Result<()> {
    let rules = json!([{
        "name": "api", "hosts": [HOST], "budget": {"upload": format!("{}Ki", BUDGET >> 10)},
        "allow": [{"methods": ["POST"], "paths": ["/upload/**"], "body": {"max": "1Mi"}}],
    }]);
    with_rules(rules, async |out| {
        let canary = canary()?;
        let uploads = format!(
            "send() {{ head -c {BODY} /dev/urandom | base64 -w0 | head -c {BODY} \
                 | curl -sS -o /dev/null -w '%{{http_code}} %{{http_version}}\\n' --max-time 30 $1 \
                     https://{HOST}/upload/{canary} -H 'content-type: text/plain' --data-binary @-; }}; \
             for number in $(seq {}); do send --http1.1 & send --http2 & done; wait",
            UPLOADS / 2
        );
        let told = out.bash(&uploads).await?.ok()?;
        let with = |end: &str| told.stdout.lines().filter(|line| line.ends_with(end)).count();
        ensure!(with(" 1.1") == UPLOADS / 2 && with(" 2") == UPLOADS / 2, "half by each protocol: {told}");
        let taken = told.stdout.lines().filter(|line| line.starts_with("200 ")).count();
        ensure!(taken > 0, "the control: some fit into the budget: {told}");
        ensure!(taken * BODY <= usize::try_from(BUDGET)?, "{taken} uploads of {BODY} bytes were taken");

        let requests = arrived(out, &canary)?;
        ensure!(requests.len() >= taken, "{requests:?}");
        let lengths = requests.iter().map(|request| request["length"].as_u64().context("a length"));
        let sent: u64 = lengths.sum::<Result<_>>()?;
        ensure!(sent <= BUDGET, "{sent} bytes arrived");
        are_told(out, &[(HOST, "over-budget")]).await?;
        let reserved = "{.status.egress.rules[0].reservedBytes}";
        let reserved: u64 = out.lab.fields(out.namespace, "workspace/out", reserved).await?.parse()?;
        ensure!(reserved <= BUDGET, "{reserved}");
        Ok(())
    })
    .await
}
