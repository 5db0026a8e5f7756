//! What was decided on one workspace: the gateways' audit log, as the cluster's admin has it, and what the gateway tells the user
//! (`ws egress`). Both say the same, nothing is missing, and nothing of what was sent is in it.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    lab::{GATEWAYS, Lab},
    probe::canaries,
    raw::Answer,
    spelling,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

/// Decisions that a gateway keeps of one workspace for `ws egress`.
const KEPT: usize = 256;
/// Time in which a gateway has heard of all connections that were ended.
const SETTLED: Duration = Duration::from_secs(1);
/// A host that no rule names.
const UNNAMED: &str = "unnamed.example";
/// What a line of the log and what the user is told have in common.
const FIELDS: [&str; 10] =
    ["ts", "decision", "count", "reason", "rule", "method", "host", "port", "path", "status"];

/// A host, what became of what was asked of it, and how often. That is the reason of a refusal, or the rule that allowed it.
pub type Outcome<'a> = (&'a str, &'a str, usize);

/// The decisions on one workspace.
pub struct Audit<'a> {
    lab: &'a Lab,
    namespace: &'a str,
    workspace: &'a str,
    began: Instant,
    /// Number of the last decision that was looked at.
    seen: Cell<u64>,
}

impl<'a> Audit<'a> {
    /// Of a workspace that has asked for nothing yet.
    pub fn of(lab: &'a Lab, namespace: &'a str, workspace: &'a str) -> Self {
        Self { lab, namespace, workspace, began: Instant::now(), seen: Cell::new(0) }
    }

    /// The last decisions, as the user is told them. Fails unless the audit log accounts for each decision, and says of these the same.
    pub async fn decisions(&self, ws: &Ws) -> Result<Vec<Value>> {
        let told = ws.decisions(self.workspace).await?;
        agree(&told, &self.log().await?)?;
        Ok(told)
    }

    /// The lines of the audit log on the workspace.
    pub async fn log(&self) -> Result<Vec<Value>> {
        Ok(self.lines().await?.into_iter().filter(|line| self.is_its(line)).collect())
    }

    /// The same lines, by the gateway that wrote them.
    pub async fn by_gateway(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for prefixed in self.logs(&["--prefix"]).await?.lines() {
            // `[pod/NAME/CONTAINER] ` stands before each.
            let (gateway, line) = prefixed.split_once("] ").context(prefixed.to_owned())?;
            if let Some(line) = serde_json::from_str(line).ok().filter(|line| self.is_its(line)) {
                lines.entry(gateway.to_owned()).or_default().push(line);
            }
        }
        Ok(lines)
    }

    /// The lines of the audit log since the beginning, on whomever.
    pub async fn lines(&self) -> Result<Vec<Value>> {
        let written = self.written().await?;
        Ok(written.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The decisions since those that were looked at last.
    async fn since_the_last_look(&self, ws: &Ws) -> Result<Vec<Value>> {
        let (told, seen) = (self.decisions(ws).await?, self.seen.get());
        let new: Vec<Value> = told.into_iter().filter(|line| number(line) > seen).collect();
        let kept = new.first().is_none_or(|first| number(first) == seen + 1);
        ensure!(kept, "not all of what was decided since the {seen}th is kept");
        Ok(new)
    }

    /// Fails unless exactly this was decided since the last look.
    pub async fn is(&self, ws: &Ws, expected: &[Outcome<'_>]) -> Result<()> {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (host, became, times) in expected {
            *counts.entry(((*host).to_owned(), (*became).to_owned())).or_default() += times;
        }
        let new = eventually(PATIENCE, "exactly these decisions", async || {
            let new = self.since_the_last_look(ws).await?;
            let told = tally(new.iter().map(|line| (text(line, "host"), outcome(line))));
            ensure!(told == counts, "expected {counts:?}, and {told:?} was decided");
            anyhow::Ok(Some(new))
        })
        .await?;
        self.look_no_further_back(&new);
        Ok(())
    }

    /// Fails unless what was decided since the last look is so many refusals.
    pub async fn refuses(&self, ws: &Ws, times: usize) -> Result<()> {
        let new = eventually(PATIENCE, "refusals, and nothing else", async || {
            let new = self.since_the_last_look(ws).await?;
            let are_refused = new.iter().all(|line| line["decision"] == "denied");
            ensure!(are_refused && new.len() == times, "expected {times} refusals: {new:?}");
            anyhow::Ok(Some(new))
        })
        .await?;
        self.look_no_further_back(&new);
        Ok(())
    }

    /// Fails unless what was refused since the last look is what these answers say, each as often: once for each time that it was said.
    /// What was not answered at all, and sent again for that, may have been refused as well.
    pub async fn is_as_answered(&self, ws: &Ws, answers: &[Answer]) -> Result<()> {
        let said = tally(answers.iter().flat_map(Answer::reasons).map(str::to_owned));
        let (all, unsaid) = (said.values().sum::<usize>(), answers.iter().map(Answer::unsaid).sum::<usize>());
        ensure!(
            (1..KEPT).contains(&(all + unsaid)),
            "{all} refusals: nothing is proven, or not all are kept"
        );
        if unsaid > 0 {
            // What is broken off is known to be so a moment later.
            sleep(SETTLED).await;
        }
        let new = eventually(PATIENCE, "each refusal once", async || {
            let new = self.since_the_last_look(ws).await?;
            let told =
                tally(new.iter().filter(|line| line["reason"].is_string()).map(|line| text(line, "reason")));
            for (reason, count) in &said {
                let told_of = told.get(reason).copied().unwrap_or_default();
                ensure!(told_of >= *count, "{count} times {reason}, of which {told_of} are told: {new:?}");
            }
            let more = told.values().sum::<usize>().saturating_sub(all);
            ensure!(
                more <= unsaid,
                "{said:?} was answered, {unsaid} were not, and {told:?} is told: {new:?}"
            );
            anyhow::Ok(Some(new))
        })
        .await?;
        self.look_no_further_back(&new);
        Ok(())
    }

    /// Fails unless nothing was decided in the workspace's namespace but on one request, which this has the workspace make: what went past
    /// the gateway is in no log, and what went through it would be.
    pub async fn is_of_one_request(&self, ws: &Ws) -> Result<()> {
        ws.bash(self.workspace, &format!("curl -s --max-time 20 https://{UNNAMED}/; true")).await?.ok()?;
        self.is(ws, &[(UNNAMED, "host-not-allowed", 1)]).await?;
        let is_of_others =
            |line: &Value| line["namespace"] == self.namespace && line["workspace"] != self.workspace;
        let others: Vec<Value> = self.lines().await?.into_iter().filter(is_of_others).collect();
        ensure!(others.is_empty(), "decided on others: {others:?}");
        Ok(())
    }

    /// Fails if the workspace asked for nothing, if the log does not account for each decision, or if something that this test made up,
    /// or one of the `secrets`, is in it in whatever spelling: no query, no body and no header's value is written down.
    pub async fn holds_nothing_that_was_sent(&self, ws: &Ws, secrets: &[&str]) -> Result<()> {
        eventually(PATIENCE, "an audit log that accounts for each decision", async || {
            let told = self.decisions(ws).await?;
            ensure!(!told.is_empty(), "the workspace asked for nothing: nothing is proven");
            anyhow::Ok(Some(()))
        })
        .await?;
        self.holds_none_of(secrets).await
    }

    /// Fails if something that this test made up, or one of the `secrets`, is in the gateways' logs, in whatever spelling.
    pub async fn holds_none_of(&self, secrets: &[&str]) -> Result<()> {
        let lines: Vec<String> = self.written().await?.iter().map(|line| without_host(line)).collect();
        let all = lines.join("\n");
        for sought in canaries().iter().map(String::as_str).chain(secrets.iter().copied()) {
            if spelling::holds(&all, sought) {
                let line = lines.iter().find(|line| spelling::holds(line, sought));
                anyhow::bail!("a gateway wrote {sought} down: {line:?}");
            }
        }
        Ok(())
    }

    /// All that the gateways wrote since the beginning, line by line.
    pub async fn written(&self) -> Result<Vec<String>> {
        Ok(self.logs(&[]).await?.lines().map(str::to_owned).collect())
    }

    /// The gateways' logs since the beginning, with more options of kubectl.
    async fn logs(&self, more: &[&str]) -> Result<String> {
        let since = format!("--since={}s", self.began.elapsed().as_secs() + 1);
        let of_gateways = ["-n", self.lab.ws_namespace(), "logs", "-l", GATEWAYS, "--tail=-1", &since];
        let logs = self.lab.kubectl(&[&of_gateways, more].concat()).await?;
        Ok(logs.ok().context("the gateways' logs")?.stdout)
    }

    fn is_its(&self, line: &Value) -> bool {
        line["namespace"] == self.namespace && line["workspace"] == self.workspace
    }

    fn look_no_further_back(&self, decisions: &[Value]) {
        self.seen.set(decisions.last().map_or(self.seen.get(), number));
    }
}

/// Fails unless the log accounts for each decision once, those that got no line of their own in a sum, and says of the others what is
/// told.
fn agree(told: &[Value], written: &[Value]) -> Result<()> {
    let last = told.last().map(number).unwrap_or_default();
    let counted: u64 = written.iter().filter_map(|line| line["count"].as_u64()).sum();
    ensure!(counted == last, "{last} decisions are told, and {counted} are in the audit log");
    let first = told.first().map(number).unwrap_or_default();
    for line in written.iter().filter(|line| !line["host"].is_null() && number(line) >= first) {
        let same = told.iter().find(|told| number(told) == number(line));
        let same = same.with_context(|| format!("not told: {line}"))?;
        for field in FIELDS {
            ensure!(line[field] == same[field], "{line} is told as {same}");
        }
    }
    Ok(())
}

fn number(line: &Value) -> u64 {
    line["seq"].as_u64().unwrap_or_default()
}

fn text(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or_default().to_owned()
}

/// Why it was refused or did not come to its end; otherwise, the rule that allowed it.
fn outcome(line: &Value) -> String {
    text(line, if line["reason"].is_string() { "reason" } else { "rule" })
}

fn tally<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// A line but for the name of the host that was asked for: that is what the log is for.
fn without_host(line: &str) -> String {
    match serde_json::from_str(line) {
        Ok(Value::Object(mut members)) => {
            members.remove("host");
            Value::Object(members).to_string()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_sent_is_found_wherever_a_line_holds_it_but_in_the_hosts_name() {
        for (line, expected) in [
            (r#"{"host": "canary.example", "reason": "host-not-allowed"}"#, false),
            (r#"{"host": "docs.example", "path": "/canary"}"#, true),
            (r#"{"host": "docs.example", "more": {"query": ["canary"]}}"#, true),
            ("WARN it went to /canary", true),
            ("WARN it went elsewhere", false),
        ] {
            assert_eq!(without_host(line).contains("canary"), expected, "{line}");
        }
    }

    #[test]
    fn a_log_that_lacks_a_decision_or_says_another_does_not_agree() {
        let line =
            |seq: u64, reason: &str| json!({"seq": seq, "count": 1, "host": "a.example", "reason": reason});
        let sum = |seq: u64, count: u64| json!({"seq": seq, "count": count});
        let told: Vec<Value> = (3..=5).map(|seq| line(seq, "malformed")).collect();
        // The first two are told no longer, and the fourth and the last are summed up.
        let whole = [line(1, "x"), line(2, "x"), line(3, "malformed"), sum(5, 2)];
        agree(&told, &whole).unwrap();
        for (what, written) in [
            ("one is missing", vec![line(1, "x"), line(3, "malformed"), sum(5, 2)]),
            ("one is there twice", [&whole[..], &[line(1, "x")]].concat()),
            ("one says another reason", vec![line(1, "x"), line(2, "x"), line(3, "misdirected"), sum(5, 2)]),
            ("one is not told", vec![line(1, "x"), line(2, "x"), line(6, "malformed"), sum(5, 2)]),
        ] {
            assert!(agree(&told, &written).is_err(), "{what}");
        }
    }
}
