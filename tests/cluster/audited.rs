//! What the gateways wrote down: what a test of the way out looks at beside what was answered and what arrived. Nothing that is denied
//! is missing there, and nothing of what was sent is in it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::time::Instant;
use ws_tests::{
    lab::Lab,
    probe::canaries,
    wait::{PATIENCE, eventually},
};

use crate::way_out::{CREDENTIAL, Out};

/// Decisions that a gateway keeps of one workspace for `ws egress`.
const KEPT: usize = 256;

/// The header by which the gateway says that a refusal is its own, as it stands before the reason.
const REFUSAL: &str = "x-ws-denied: ";

/// All that the gateways wrote since then, line by line.
async fn written(lab: &Lab, since: Instant) -> Result<Vec<String>> {
    let since = format!("--since={}s", since.elapsed().as_secs() + 1);
    let of_gateways = ["-l", "app.kubernetes.io/name=ws-gateway", "--tail=-1", &since];
    let logs = lab.kubectl(&[&["-n", lab.ws_namespace(), "logs"], &of_gateways[..]].concat()).await?.ok()?;
    Ok(logs.stdout.lines().map(str::to_owned).collect())
}

/// How many decisions on the namespace's workspaces these lines stand for.
fn counted(lines: &[String], namespace: &str) -> u64 {
    let decisions = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_namespace = decisions.filter(|line| line["namespace"] == namespace);
    of_namespace.filter_map(|line| line.get("count")?.as_u64()).sum()
}

/// Whether a line holds this, elsewhere than in the name of the host that was asked for: that is what the log is for.
fn holds(line: &str, secret: &str) -> bool {
    match serde_json::from_str(line) {
        Ok(Value::Object(mut members)) => {
            members.remove("host");
            Value::Object(members).to_string().contains(secret)
        }
        _ => line.contains(secret),
    }
}

/// Fails if something that this test made up, or the credential, is in the gateways' logs: no query, no body and no header's value
/// is written down.
pub(crate) async fn nothing_that_was_sent_is_written_down(out: &Out<'_>, since: Instant) -> Result<()> {
    all_is_written_down(out, since).await?;
    let lines = written(out.lab, since).await?;
    for line in &lines {
        ensure!(!line.contains(CREDENTIAL), "a gateway wrote a credential down: {line}");
        for canary in canaries() {
            ensure!(!holds(line, &canary), "a gateway wrote {canary} down: {line}");
        }
    }
    Ok(())
}

/// Waits until the audit log accounts for each decision on the workspace: those that got no line of their own are counted in another.
async fn all_is_written_down(out: &Out<'_>, since: Instant) -> Result<()> {
    let told = decisions(out).await?;
    let last = told.last().and_then(|line| line["seq"].as_u64()).unwrap_or_default();
    ensure!(last > 0, "the workspace asked for nothing: nothing is proven");
    eventually(PATIENCE, "an audit log that accounts for each decision", async || {
        let counted = counted(&written(out.lab, since).await?, out.namespace);
        ensure!(counted >= last, "{counted} of {last}");
        anyhow::Ok(Some(()))
    })
    .await
}

/// The last decisions, as the user is told them.
async fn decisions(out: &Out<'_>) -> Result<Vec<Value>> {
    let told = out.ws.run(&["egress", "out", "--json"]).await?.ok()?;
    Ok(told.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Host and reason of each refusal that the user is told of, also of what was allowed and did not come to its end.
async fn refusals(out: &Out<'_>) -> Result<Vec<(String, String)>> {
    let decisions = decisions(out).await?.into_iter();
    let text = |line: &Value, field: &str| Some(line.get(field)?.as_str()?.to_owned());
    Ok(decisions.filter_map(|line| Some((text(&line, "host")?, text(&line, "reason")?))).collect())
}

/// Fails unless the user is told of each of these refusals, a host and a reason.
pub(crate) async fn are_told(out: &Out<'_>, expected: &[(&str, &str)]) -> Result<()> {
    let told = refusals(out).await?;
    for (host, reason) in expected {
        let is_this = |(of, why): &(String, String)| of == host && why == reason;
        ensure!(told.iter().any(is_this), "{reason} of {host} is not in {told:?}");
    }
    Ok(())
}

/// Fails unless the user is told of as many refusals as these answers hold, each for the reason that the answer gives.
pub(crate) async fn each_refusal_is_told(out: &Out<'_>, answers: &[String]) -> Result<()> {
    let mut given: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers {
        for reason in answer.split(REFUSAL).skip(1).filter_map(|rest| rest.lines().next()) {
            *given.entry(reason).or_default() += 1;
        }
    }
    let all = given.values().sum::<usize>();
    ensure!((1..KEPT).contains(&all), "{all} refusals: nothing is proven, or not all are kept");
    let told = refusals(out).await?;
    for (reason, count) in given {
        let recorded = told.iter().filter(|(_, why)| why == reason).count();
        ensure!(recorded >= count, "{count} times {reason}, of which {recorded} are told: {told:?}");
    }
    Ok(())
}

#[test]
fn what_was_sent_is_found_wherever_a_line_holds_it_but_in_the_hosts_name() {
    for (line, expected) in [
        (r#"{"host": "canary.example", "reason": "host-not-allowed"}"#, false),
        (r#"{"host": "docs.example", "path": "/canary"}"#, true),
        (r#"{"host": "docs.example", "more": {"query": ["canary"]}}"#, true),
        ("WARN it went to /canary", true),
        ("WARN it went elsewhere", false),
    ] {
        assert_eq!(holds(line, "canary"), expected, "{line}");
    }
}
