//! Red team, B20: a workspace whose connections come to two gateways.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    audit::Audit,
    class,
    lab::Lab,
    namespace::with_namespace,
    probe::canary,
    project::Project,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

const HOST: &str = "api.example";
/// What a workspace may send in its life.
const BUDGET: u64 = 256 << 10;
/// Uploads, each on a connection of its own, and how many of them at a time.
const UPLOADS: usize = 96;
const AT_ONCE: usize = 24;
/// Bytes of one body: all together are twice the budget, so that either gateway could spend it alone.
const BODY: usize = 6 << 10;

/// Whether one client's connections come to one gateway: `ClientIP` as installed, or `None`.
async fn set_affinity(lab: &Lab, affinity: &str) -> Result<()> {
    let patch = json!({"spec": {"sessionAffinity": affinity, "sessionAffinityConfig": null}}).to_string();
    let patch = ["patch", "service", "ws-gateway", "--type=merge", "-p", &patch];
    lab.kubectl(&[&["-n", lab.ws_namespace()], &patch[..]].concat()).await?.ok().map(drop)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_two_gateways_spend_one_budget_at_once() -> Result<()> {
    let lab = Lab::running().await?;
    set_affinity(&lab, "None").await?;
    let outcome = spend_at_both().await;
    set_affinity(&lab, "ClientIP").await?;
    outcome
}

async fn spend_at_both() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let rules = json!([{
            "name": "api", "hosts": [HOST], "budget": {"upload": BUDGET.to_string()},
            "allow": [{"methods": ["POST"], "paths": ["/upload/**"], "body": {"max": "64Ki"}}],
        }]);
        let class = class::create(lab, json!({"egress": {"rules": rules}})).await?;
        let (ws, canary, audit) = (Ws::new(lab, namespace)?, canary()?, Audit::of(lab, namespace, "out"));
        let up = ["up", "--name", "out", "--class", &class, "--detach"];
        ws.run_in(Project::empty()?.path(), &up).await?.ok()?;
        // The node's proxy hears of it a moment later.
        eventually(PATIENCE, "two gateways that are asked", async || {
            ws.bash("out", "for _ in 1 2 3 4; do curl -s https://hidden.example/; done; true").await?.ok()?;
            anyhow::Ok((audit.by_gateway().await?.len() == 2).then_some(()))
        })
        .await?;

        let uploads = format!(
            "head -c {BODY} /dev/zero | tr '\\0' x > /tmp/body; \
             seq {UPLOADS} | xargs -P {AT_ONCE} -I NUMBER curl -sS -o /dev/null -w '%{{http_code}}\\n' --max-time 30 \
                 https://{HOST}/upload/{canary}/NUMBER --data-binary @/tmp/body; true"
        );
        let told = ws.bash("out", &uploads).await?.ok()?;
        ensure!(told.stdout.contains("413"), "the budget was not spent: {told}");
        let requests = lab.asked(&format!("/upload/{canary}"))?;
        let lengths = requests.iter().map(|request| request["length"].as_u64().context("a length"));
        let arrived: u64 = lengths.sum::<Result<_>>()?;
        ensure!(arrived <= BUDGET, "{arrived} bytes arrived: {told}");
        ensure!(arrived >= BUDGET / 2, "the control: only {arrived} bytes arrived: {told}");

        // Both had a part in it, and say so.
        let sent = eventually(PATIENCE, "what each gateway let pass", async || {
            let by_gateway = audit.by_gateway().await?;
            let sent: Vec<u64> = by_gateway.values().map(|lines| sent_by(lines)).collect();
            ensure!(sent.len() == 2 && !sent.contains(&0), "{by_gateway:?}");
            anyhow::Ok(Some(sent))
        })
        .await?;
        ensure!(sent.iter().sum::<u64>() <= BUDGET, "{sent:?} bytes were sent");
        let reserved = "{.status.egress.rules[0].reservedBytes}";
        let reserved: u64 = lab.fields(namespace, "workspace/out", reserved).await?.parse()?;
        ensure!(reserved <= BUDGET, "{reserved} bytes were set aside");
        audit.holds_none_of(&[]).await?;
        class::delete(lab, &class).await
    })
    .await
}

/// Bytes that were sent by what is allowed in these lines.
fn sent_by(lines: &[Value]) -> u64 {
    lines.iter().filter_map(|line| line["sentBytes"].as_u64()).sum()
}
