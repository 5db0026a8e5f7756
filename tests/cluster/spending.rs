//! Red team, B20: what counts against a budget is what is sent, to the byte: slowly, or compressed.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::probe::canary;

use crate::{
    audited::{are_told, these_alone_are_told},
    spellings::arrived,
    way_out::{Out, with_rules},
};

const HOST: &str = "api.example";
/// What a workspace may send in its life, a rule.
const BUDGET: usize = 8 << 10;
/// Prints the status of an answer alone.
const STATUS: &str = "curl -sS -o /dev/null -w '%{http_code}' --max-time 30 -H 'Content-Type: text/plain'";

fn rules() -> Value {
    json!([{
        "name": "api", "hosts": [HOST], "budget": {"upload": BUDGET.to_string()},
        "allow": [{"methods": ["POST"], "paths": ["/upload/**"], "body": {"max": "1Mi"}}],
    }])
}

/// The status of an upload of what a line of bash prints, with more arguments of curl.
async fn upload(out: &Out<'_>, page: &str, line: &str, more: &str) -> Result<String> {
    let upload = format!("{line} | {STATUS} https://{HOST}/upload/{page} --data-binary @- {more}; true");
    Ok(out.bash(&upload).await?.ok()?.stdout)
}

/// The bodies that arrived below this page, of requests that came to their end.
fn bodies(out: &Out<'_>, page: &str) -> Result<Vec<String>> {
    let whole = arrived(out, page)?.into_iter().filter(|request| request.get("status") == Some(&200.into()));
    let body = |request: Value| request.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(whole.map(body).collect())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_a_body_of_one_byte_more_than_is_left_is_not_begun() -> Result<()> {
    const FIRST: usize = 1_000;
    with_rules(rules(), async |out| {
        let page = canary()?;
        let send = async |bytes: usize| {
            upload(out, &page, &format!("head -c {bytes} /dev/zero | tr '\\0' x"), "").await
        };
        ensure!(send(FIRST).await? == "200", "the first fits");
        these_alone_are_told(out, &[(HOST, "api", 1)]).await?;
        let decisions = out.audit.decisions(&out.ws).await?;
        let counted = decisions.last().and_then(|line| line["sentBytes"].as_u64());
        let counted = usize::try_from(counted.context("it was counted")?)?;
        ensure!(counted > FIRST, "{counted}");
        // The head is as long again: both lengths have as many digits.
        let left = BUDGET - counted - (counted - FIRST);
        let more = send(left + 1).await?;
        ensure!(
            more == "413" && arrived(out, &page)?.len() == 1,
            "{left} bytes are left, and one more: {more}"
        );
        these_alone_are_told(out, &[(HOST, "over-budget", 1)]).await?;
        let rest = send(left).await?;
        ensure!(rest == "200", "the control: what is left is taken: {rest}");
        these_alone_are_told(out, &[(HOST, "api", 1)]).await?;
        ensure!(send(1).await? == "413", "nothing is left");
        these_alone_are_told(out, &[(HOST, "over-budget", 1)]).await?;
        let lengths: Vec<usize> = bodies(out, &page)?.iter().map(String::len).collect();
        ensure!(lengths == [FIRST, left], "{lengths:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_what_is_sent_slowly_or_compressed_counts_as_it_is_sent() -> Result<()> {
    const GZIP: &str = "-H 'Content-Encoding: gzip'";
    with_rules(rules(), async |out| {
        let (small, trickle, large) = (canary()?, canary()?, canary()?);
        // Many bytes in few: these are what counts.
        let sent = upload(out, &small, "head -c 100000 /dev/zero | gzip -n", GZIP).await?;
        ensure!(sent == "200" && arrived(out, &small)?.len() == 1, "the control: it fits: {sent}");
        let incompressible = format!("head -c {} /dev/urandom | gzip -n", BUDGET + 1_000);
        let refused = upload(out, &large, &incompressible, GZIP).await?;
        ensure!(refused == "413" && arrived(out, &large)?.is_empty(), "compressed: {refused}");
        these_alone_are_told(out, &[(HOST, "api", 1), (HOST, "over-budget", 1)]).await?;
        // A body of which nobody says how long it is, a few bytes at a time: its last chunk is not among those that arrive.
        let slowly = format!("for _ in $(seq 100); do head -c {} /dev/zero; sleep 0.03; done", BUDGET / 64);
        let line = format!("{slowly} | {STATUS} -X POST -T - https://{HOST}/upload/{trickle}; true");
        let cut = out.bash(&line).await?.ok()?;
        ensure!(cut.stdout != "200", "{cut}");
        ensure!(bodies(out, &trickle)?.is_empty(), "it arrived whole");
        are_told(out, &[(HOST, "over-budget")]).await?;
        let requests = [arrived(out, &small)?, arrived(out, &trickle)?].concat();
        let lengths = requests.iter().map(|request| request["length"].as_u64().context("a length"));
        let sent: u64 = lengths.sum::<Result<_>>()?;
        ensure!(sent <= BUDGET as u64, "{sent} bytes arrived");
        Ok(())
    })
    .await
}
