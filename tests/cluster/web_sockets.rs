//! Red team, groups A and B: `WebSockets` to a host outside (A13, B20, B21). What a rule allows passes as whole messages, counted, for as
//! long as the rule is there. Nothing else passes: neither what other frames carry, nor what is compressed, too long or too much.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use ws_tests::{
    command::{Output, run_with_input},
    lab::{Frame, Lab},
    pod::changed,
    probe::{WEB, canary, open_pod_of},
    project::Project,
    wait::{PATIENCE, eventually},
};

use crate::{
    audited::are_told,
    egress::OPEN,
    toolchains::IMAGE,
    way_out::{Out, with_project},
};

/// Says each message again.
const HOST: &str = "talk.example";
/// The most bytes of a message.
const MAX: usize = 1 << 10;
/// What a message is counted as beside what it says.
const HEAD: usize = 14;

const CONVERSE: &str = include_str!("web_sockets/converse.py");
const LIMIT: Duration = Duration::from_mins(1);

/// What became of a conversation, as its client saw it.
#[derive(Debug, Deserialize)]
struct Became {
    status: u16,
    /// Why it was refused.
    reason: Option<String>,
    /// Those that were agreed on.
    extensions: Vec<String>,
    /// Messages; binary ones in hexadecimal digits.
    heard: Vec<String>,
    /// Whether somebody else than the client ended it.
    ended: bool,
}

/// A workspace with a rule for conversations at `/talk/{id}` and for pages at `/pages/{id}`, with these members beside.
async fn with_talk(more: Value, test: impl AsyncFnOnce(&Out<'_>) -> Result<()>) -> Result<()> {
    let mut rule = json!({
        "name": "talk", "hosts": [HOST],
        "allow": [
            {"methods": ["GET"], "paths": ["/talk/{id}"], "webSocket": {"maxMessage": "1Ki"}},
            {"methods": ["GET"], "paths": ["/pages/{id}"]},
        ],
    });
    if let (Some(members), Value::Object(more)) = (rule.as_object_mut(), more) {
        members.extend(more);
    }
    with_project(&Project::empty()?, json!({"image": IMAGE, "egress": {"rules": [rule]}}), test).await
}

/// What a client is to say at this path, one thing after the other.
fn wish(path: &str, says: &Value) -> Value {
    json!({
        "url": format!("wss://{HOST}{path}"), "address": null, "says": says, "waits": true, "repeats": false, "closes": "",
    })
}

/// From the workspace, by a program that knows of no proxy.
async fn converse(out: &Out<'_>, wish: &Value) -> Result<Became> {
    let arguments = ["attach", "out", "--", "python3", "-c", CONVERSE];
    became(&out.ws.run_with_input(serde_json::to_vec(wish)?, &arguments).await?.ok()?)
}

/// From a pod that no policy selects, with nobody between it and the host.
async fn converse_directly(lab: &Lab, namespace: &str, wish: Value) -> Result<Became> {
    open_pod_of(lab, namespace, OPEN, IMAGE).await?;
    let wish = changed(wish, &[("/address", WEB.into())])?;
    let exec = lab.kubectl_command(&["-n", namespace, "exec", "-i", OPEN, "--", "python3", "-c", CONVERSE]);
    became(&run_with_input(exec, serde_json::to_vec(&wish)?, LIMIT).await?.ok()?)
}

fn became(output: &Output) -> Result<Became> {
    serde_json::from_str(&output.stdout).with_context(|| output.to_string())
}

/// The frames of the only conversation in which the host heard `marker`.
fn heard(lab: &Lab, marker: &str) -> Result<Vec<Frame>> {
    let mut conversations = lab.heard(marker)?;
    ensure!(conversations.len() == 1, "not one conversation: {conversations:?}");
    Ok(conversations.remove(0))
}

/// Kind, end and content of frames.
fn told(frames: &[Frame]) -> Vec<(&str, bool, String)> {
    frames.iter().map(|frame| (frame.kind.as_str(), frame.is_last, frame.text())).collect()
}

/// Fails unless the user is told of this refusal, once what it ended has come to its end.
async fn is_told(out: &Out<'_>, reason: &str) -> Result<()> {
    eventually(PATIENCE, reason, async || are_told(out, &[(HOST, reason)]).await.map(Some)).await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b21_messages_pass_both_ways_whole_and_counted_and_nothing_passes_beside_them() -> Result<()> {
    const BINARY: &str = "00ff00fe";
    with_talk(json!({}), async |out| {
        let (path, marker, hidden) = (format!("/talk/{}", canary()?), canary()?, canary()?);
        let says = |hidden: &str| {
            json!([
                {"text": marker}, {"hex": BINARY}, {"ping": hidden}, {"pieces": ["in ", "", "pieces ", marker]}, {"text": "last"},
            ])
        };
        let mut all = wish(&path, &says(&hidden));
        all["closes"] = hidden.as_str().into();
        let became = converse(out, &all).await?;
        let in_pieces = format!("in pieces {marker}");
        ensure!(became.status == 101 && !became.ended, "{became:?}");
        ensure!(became.heard == [marker.as_str(), BINARY, &in_pieces, "last"], "{became:?}");
        ensure!(became.extensions.is_empty(), "compression was agreed on: {became:?}");

        let frames = eventually(PATIENCE, "the end of the conversation", async || {
            let frames = heard(out.lab, &path)?;
            anyhow::Ok(frames.last().is_some_and(|frame| frame.kind == "close").then_some(frames))
        })
        .await?;
        let expected = [
            ("text", true, marker.clone()),
            ("binary", true, String::from_utf8_lossy(&[0, 255, 0, 254]).into_owned()),
            ("text", true, in_pieces.clone()),
            ("text", true, "last".to_owned()),
        ];
        let opening = frames.first().context("it was opened")?;
        ensure!(opening.kind == "open" && opening.extensions.is_none(), "{opening:?}");
        ensure!(told(&frames).get(1..5) == Some(&expected[..]) && frames.len() == 6, "{frames:?}");
        ensure!(out.lab.heard(&hidden)?.is_empty(), "what a ping or a close carries arrived: {frames:?}");
        let said = marker.len() + 4 + in_pieces.len() + "last".len();
        is_counted(out, said, expected.len()).await?;

        // The control: with nobody between, all of it arrives as it was sent.
        let (path, shown) = (format!("/talk/{}", canary()?), canary()?);
        let became = converse_directly(out.lab, out.namespace, wish(&path, &says(&shown))).await?;
        ensure!(became.extensions == ["permessage-deflate"], "{became:?}");
        let frames = heard(out.lab, &path)?;
        ensure!(told(&frames).contains(&("ping", true, shown)), "{frames:?}");
        ensure!(told(&frames).contains(&("text", false, "in ".to_owned())), "{frames:?}");
        Ok(())
    })
    .await
}

/// Waits until the decision on the only conversation is told, and looks at what was counted: messages of so many bytes together, each of
/// which the host said again.
async fn is_counted(out: &Out<'_>, bytes: usize, messages: usize) -> Result<()> {
    let decision = eventually(PATIENCE, "the decision on the conversation", async || {
        let mut decisions = out.ws.decisions("out").await?.into_iter();
        anyhow::Ok(decisions.find(|decision| decision["host"] == HOST && decision["status"] == 101))
    })
    .await?;
    let is = |field: &str, expected: Value| decision.get(field) == Some(&expected);
    ensure!(is("decision", json!("allowed")) && is("rule", json!("talk")), "{decision}");
    ensure!(is("path", json!("/talk/{id}")) && is("receivedBytes", json!(bytes)), "{decision}");
    let sent = decision.get("sentBytes").and_then(Value::as_u64).context("a count")?;
    ensure!(sent >= (bytes + messages * HEAD) as u64, "{decision}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b21_a_web_socket_is_opened_only_where_a_rule_says_so() -> Result<()> {
    with_talk(json!({}), async |out| {
        let hidden = canary()?;
        let says = json!([{"text": hidden}]);
        for (path, reason) in
            [(format!("/pages/{hidden}"), "web-socket"), (format!("/other/{hidden}"), "request-not-allowed")]
        {
            let became = converse(out, &wish(&path, &says)).await?;
            ensure!(became.status == 403 && became.reason.as_deref() == Some(reason), "{path}: {became:?}");
            ensure!(out.lab.asked(&path)?.is_empty(), "{path} was asked for");
            is_told(out, reason).await?;
        }
        let path = format!("/talk/{hidden}");
        let page = out.bash(&format!("curl -sS -i --max-time 20 https://{HOST}{path}")).await?.ok()?;
        ensure!(page.stdout.contains("x-ws-denied: web-socket"), "no page is read there: {page}");
        ensure!(out.lab.asked(&path)?.is_empty() && out.lab.heard(&hidden)?.is_empty(), "something arrived");

        let path = format!("/talk/{}", canary()?);
        let became = converse(out, &wish(&path, &json!([{"text": "hello"}]))).await?;
        ensure!(became.heard == ["hello"] && out.lab.heard(&path)?.len() == 1, "the control: {became:?}");
        Ok(())
    })
    .await
}

/// A text that begins so and has so many bytes.
fn long(start: &str, bytes: usize) -> String {
    format!("{start}{}", "x".repeat(bytes.saturating_sub(start.len())))
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_b21_a_message_that_is_too_long_ends_the_conversation_and_does_not_arrive() -> Result<()> {
    with_talk(json!({}), async |out| {
        let hidden = canary()?;
        let binary = hidden.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        for too_long in [
            json!({"text": long(&hidden, MAX + 1)}),
            json!({"hex": long(&binary, 2 * (MAX + 1)).replace('x', "0")}),
            json!({"pieces": [long(&hidden, MAX / 2), long(&hidden, MAX / 2), "x"]}),
        ] {
            let path = format!("/talk/{}", canary()?);
            let longest = long("as long as it may be", MAX);
            let became = converse(out, &wish(&path, &json!([{"text": longest}, too_long]))).await?;
            ensure!(became.status == 101 && became.ended, "it goes on: {became:?}");
            ensure!(became.heard == [longest.as_str()], "the control: {became:?}");
            is_told(out, "body-too-long").await?;
            let frames = heard(out.lab, &path)?;
            ensure!(out.lab.heard(&hidden)?.is_empty(), "a part of {too_long} arrived: {frames:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_b21_messages_end_at_their_budget() -> Result<()> {
    const BUDGET: usize = 4 << 10;
    /// Bytes of a message: four of them, each with its head, leave no room for another, nor for what opened the conversation.
    const MESSAGE: usize = 1_000;
    with_talk(json!({"budget": {"upload": "4Ki"}}), async |out| {
        let (path, early, late) = (format!("/talk/{}", canary()?), canary()?, canary()?);
        let says: Vec<Value> = [&early; 4]
            .into_iter()
            .chain([&late; 8])
            .map(|start| json!({"text": long(start, MESSAGE)}))
            .collect();
        let mut wish = wish(&path, &says.into());
        // All at once, so that they are on their way before the first one is answered.
        wish["waits"] = false.into();
        let became = converse(out, &wish).await?;
        ensure!(became.status == 101 && became.ended, "it goes on: {became:?}");
        is_told(out, "over-budget").await?;
        let frames = heard(out.lab, &early)?;
        let arrived: usize =
            frames.iter().filter(|frame| frame.kind != "close").map(|frame| frame.text().len()).sum();
        ensure!((MESSAGE..=BUDGET).contains(&arrived), "{arrived} bytes arrived");
        ensure!(out.lab.heard(&late)?.is_empty(), "a message beyond the budget arrived");
        let reserved = "{.status.egress.rules[0].reservedBytes}";
        let reserved: usize = out.lab.fields(out.namespace, "workspace/out", reserved).await?.parse()?;
        ensure!(reserved <= BUDGET, "{reserved}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a13_a_conversation_ends_within_five_seconds_when_its_rule_goes() -> Result<()> {
    with_talk(json!({}), async |out| {
        let path = format!("/talk/{}", canary()?);
        let mut wish = wish(&path, &json!([{"text": "still here"}]));
        wish["repeats"] = true.into();
        let conversation = converse(out, &wish);
        let change = async {
            let grows_beyond = async |count: usize| {
                let grown = async || {
                    let frames = out.lab.heard(&path)?.into_iter().map(|frames| frames.len()).sum::<usize>();
                    anyhow::Ok(Some(frames).filter(|frames| *frames > count))
                };
                eventually(PATIENCE, "more of the conversation", grown).await
            };
            // More than what opens it.
            let some = grows_beyond(1).await?;
            grows_beyond(some).await?;
            out.set_rules(json!([])).await?;
            anyhow::Ok(Instant::now())
        };
        let (became, changed) = tokio::try_join!(conversation, change)?;
        ensure!(changed.elapsed() < Duration::from_secs(5), "it took {:?}", changed.elapsed());
        ensure!(became.status == 101 && became.ended && !became.heard.is_empty(), "it is cut: {became:?}");
        is_told(out, "revoked").await
    })
    .await
}
