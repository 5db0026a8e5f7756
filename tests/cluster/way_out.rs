//! The way out: what a rule names is reached by programs of all kinds, and nothing else is.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;
use ws_tests::{
    audit::Audit,
    class::{self, reading},
    command::Output,
    lab::Lab,
    namespace::with_namespace,
    probe::{WEB, canary, open_pod},
    project::Project,
    spelling,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

use crate::{
    audited::{are_told, nothing_that_was_sent_is_written_down, these_alone_are_told},
    egress::OPEN,
};

/// A credential that only the gateway has.
pub(crate) const CREDENTIAL: &str = "sk-lab-5e1f0c9b7a3d4482";
pub(crate) const SECRET: &str = "test-credential";

/// A workspace `out`, and its class.
pub(crate) struct Out<'a> {
    pub lab: &'a Lab,
    pub namespace: &'a str,
    pub ws: Ws,
    pub audit: Audit<'a>,
    pub class: String,
}

impl Out<'_> {
    pub async fn bash(&self, line: &str) -> Result<Output> {
        self.ws.bash("out", line).await
    }

    /// Changes the rules of its class.
    pub async fn set_rules(&self, rules: Value) -> Result<()> {
        let patch = json!({"spec": {"egress": {"rules": rules}}}).to_string();
        let patch = ["patch", "workspaceclass", &self.class, "--type=merge", "-p", &patch];
        self.lab.kubectl(&patch).await?.ok().map(drop)
    }
}

/// A namespace, and a class that is like the default one but for `changes` and whose rules may use [`SECRET`].
pub(crate) async fn with_class(
    changes: Value,
    test: impl AsyncFnOnce(&Lab, &str, &str) -> Result<()>,
) -> Result<()> {
    with_namespace(async |lab, namespace| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {"key": CREDENTIAL}});
        // Of all tests at once; without the server's help only one of them could create it.
        let apply = ["-n", lab.ws_namespace(), "apply", "--server-side", "--force-conflicts", "-f", "-"];
        lab.kubectl_with(&apply, &secret.to_string()).await?.ok()?;
        let class = class::create(lab, changes).await?;
        let outcome = test(lab, namespace, &class).await;
        outcome.and(class::delete(lab, &class).await)
    })
    .await
}

/// A workspace whose class has these egress rules.
pub(crate) async fn with_rules(rules: Value, test: impl AsyncFnOnce(&Out<'_>) -> Result<()>) -> Result<()> {
    with_project(&Project::empty()?, json!({"egress": {"rules": rules}}), test).await
}

/// A workspace of `project` whose class is like the default one but for `changes`. Whatever a test does there, none of it is in the
/// gateways' logs but as it should be.
pub(crate) async fn with_project(
    project: &Project,
    changes: Value,
    test: impl AsyncFnOnce(&Out<'_>) -> Result<()>,
) -> Result<()> {
    with_class(changes, async |lab, namespace, class| {
        let (ws, audit) = (Ws::new(lab, namespace)?, Audit::of(lab, namespace, "out"));
        let up = ["up", "--name", "out", "--class", class, "--detach"];
        ws.run_in(project.path(), &up).await?.ok()?;
        let out = Out { lab, namespace, ws, audit, class: class.to_owned() };
        test(&out).await?;
        nothing_that_was_sent_is_written_down(&out).await
    })
    .await
}

/// Programs that fetch `$1` and print what they got, by how they find the way out.
const PROGRAMS: [(&str, &str); 7] = [
    ("curl by the proxy", "curl -sS --max-time 20 $1"),
    ("curl that knows of no proxy", "curl -sS --max-time 20 --noproxy '*' $1"),
    ("curl with HTTP/1.1 alone", "curl -sS --max-time 20 --http1.1 $1"),
    (
        "Python by the proxy",
        "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=20).read().decode())' $1",
    ),
    (
        "Python that knows of no proxy",
        "python3 -c 'import sys, urllib.request as r; \
         print(r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=20).read().decode())' $1",
    ),
    ("Node", "node -e 'fetch(process.argv[1]).then(async r => console.log(r.status, await r.text()))' $1"),
    ("a program that heeds no variable", "env -i curl -sS --max-time 20 $1"),
];

#[tokio::test]
#[ignore = "needs the lab"]
async fn programs_of_all_kinds_reach_what_a_rule_names_and_nothing_else() -> Result<()> {
    with_rules(json!([reading("docs", &["docs.example"])]), async |out| {
        for (program, line) in PROGRAMS {
            let canary = canary()?;
            let fetch =
                async |host: &str| out.bash(&format!("set -- https://{host}/?{canary}; {line}")).await;
            let denied = fetch("hidden.example").await?;
            ensure!(!denied.stdout.contains("ws-lab docs"), "{program} got something else: {denied}");
            ensure!(!out.lab.resolved()?.contains("hidden.example."), "{program} had the name resolved");
            ensure!(out.lab.asked(&format!("/?{canary}"))?.is_empty(), "{program}");
            let fetch = format!("set -- https://docs.example/; {line}");
            let allowed = out.bash(&fetch).await?.ok()?;
            ensure!(allowed.stdout.contains("ws-lab docs"), "{program}: {allowed}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn what_a_rule_does_not_name_would_answer() -> Result<()> {
    with_namespace(async |lab, namespace| {
        open_pod(lab, namespace, OPEN).await?;
        let fetch =
            format!("curl -sSk --max-time 20 --resolve hidden.example:443:{WEB} https://hidden.example/");
        let got = lab.kubectl(&["-n", namespace, "exec", OPEN, "--", "bash", "-c", &fetch]).await?.ok()?;
        ensure!(got.stdout.contains("ws-lab docs"), "{got}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b16_b24_a_credential_is_put_in_and_does_not_come_back() -> Result<()> {
    let rules = json!([{
        "name": "api", "hosts": ["api.example"], "credential": {"secretName": SECRET, "key": "key"},
        "allow": [{"methods": ["GET", "POST"], "paths": ["/**"], "headers": [{"name": "accept"}], "body": {"max": "1Mi"}}],
    }]);
    with_rules(rules, async |out| {
        let path = format!("/upload/{}", canary()?);
        let mine = "-H 'Authorization: Bearer mine' -H 'X-Api-Key: mine' -H 'Cookie: a=mine' -A mine";
        let sent = out.bash(&format!("curl -sS https://api.example{path} {mine} -d hello")).await?.ok()?;
        ensure!(sent.stdout == "taken\n", "{sent}");
        let asked = out.lab.asked(&path)?;
        let request = asked.first().context("it arrived")?;
        ensure!(request["authorization"] == format!("Bearer {CREDENTIAL}"), "{request}");
        ensure!(request["body"] == "hello" && !request.to_string().contains("mine"), "{request}");
        open_pod(out.lab, out.namespace, OPEN).await?;
        for path in ["/echo", "/echo-header", "/echo-cookie", "/echo-compressed"] {
            let echoed =
                out.bash(&format!("curl -sS -i https://api.example{path}; env; cat ~/.ws/*")).await?;
            ensure!(!spelling::holds(&echoed.to_string(), CREDENTIAL), "{path}: {echoed}");
            // What is found in a body breaks it off.
            let is_cut = echoed.stderr.contains("curl: (92)");
            ensure!(is_cut || echoed.stdout.contains("x-ws-denied: credential-reflected"), "{path}: {echoed}");
            // The control: what is sent there without a gateway does come back.
            let line = format!(
                "curl -sSk -i --compressed --resolve api.example:443:{WEB} https://api.example{path} -H 'Authorization: shown'"
            );
            let exec = ["-n", out.namespace, "exec", OPEN, "--", "bash", "-c", &line];
            let shown = out.lab.kubectl(&exec).await?.ok()?;
            ensure!(shown.stdout.contains("shown"), "{path}: {shown}");
        }
        are_told(out, &[("api.example", "credential-reflected")]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b26_a_class_that_cannot_be_used_denies_until_it_can() -> Result<()> {
    with_rules(json!([reading("docs", &["docs.example"])]), async |out| {
        let says = async || {
            anyhow::Ok(out.bash("curl -sS -i --max-time 5 https://docs.example/; true").await?.to_string())
        };
        let becomes = async |rules: Value, expected: &str| -> Result<()> {
            out.set_rules(rules).await?;
            let changed = Instant::now();
            eventually(PATIENCE, expected, async || {
                anyhow::Ok(says().await?.contains(expected).then_some(()))
            })
            .await?;
            // Two seconds, and a question, which takes a while here, and longer on a machine that has else to do.
            ensure!(changed.elapsed() < Duration::from_secs(6), "{expected} took {:?}", changed.elapsed());
            Ok(())
        };
        ensure!(says().await?.contains("ws-lab docs"), "the control");
        // What the schema lets through, and nothing can be made of. What stands beside it is not what counts instead.
        let broken = json!({"name": "broken", "hosts": ["api.example"], "allow": [{"methods": ["GET"], "paths": ["/a**"]}]});
        becomes(json!([reading("docs", &["docs.example"]), broken]), "x-ws-denied: no-policy").await?;
        are_told(out, &[("docs.example", "no-policy")]).await?;
        becomes(json!([reading("docs", &["docs.example"])]), "ws-lab docs").await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_change_of_the_policy_holds_within_two_seconds() -> Result<()> {
    const PROMISE: Duration = Duration::from_secs(2);
    with_rules(json!([reading("docs", &["docs.example"])]), async |out| {
        let reaches = async || -> Result<bool> {
            Ok(out.bash("curl -sS --max-time 5 https://docs.example/").await?.stdout.contains("ws-lab docs"))
        };
        ensure!(reaches().await?, "it is allowed");
        // To ask takes a while, and longer on a busy machine: the quickest of a few changes each way counts.
        let mut quickest = [Duration::MAX; 2];
        for (round, is_allowed) in [false, true].into_iter().cycle().enumerate().take(6) {
            let rules = if is_allowed { json!([reading("docs", &["docs.example"])]) } else { json!([]) };
            out.set_rules(rules).await?;
            let changed = Instant::now();
            eventually(PATIENCE, "the new policy", async || {
                anyhow::Ok((reaches().await? == is_allowed).then_some(()))
            })
            .await?;
            let of_this_way = &mut quickest[usize::from(is_allowed)];
            *of_this_way = changed.elapsed().min(*of_this_way);
            if round % 2 == 1 && quickest.iter().max() < Some(&PROMISE) {
                return Ok(());
            }
        }
        bail!("a change took {quickest:?} at best")
    })
    .await
}

/// Has the workspace fetch what takes long, and sets these rules meanwhile: fails unless it is cut within five seconds. Returns how many
/// bytes had come by then.
pub(crate) async fn is_cut(out: &Out<'_>, fetch: &str, rules: Value) -> Result<u64> {
    let line = format!("{fetch} > ~/slow; echo ended $?");
    let fetched = out.bash(&line);
    let change = async {
        let size =
            async || anyhow::Ok(out.bash("stat -c %s ~/slow || echo 0").await?.stdout.trim().parse::<u64>()?);
        let grows_beyond = async |bytes: u64| {
            let grown = async || anyhow::Ok(Some(size().await?).filter(|size| *size > bytes));
            eventually(PATIENCE, "more of what is slow", grown).await
        };
        let some = grows_beyond(0).await?;
        let more = grows_beyond(some).await?;
        out.set_rules(rules).await?;
        anyhow::Ok((Instant::now(), more))
    };
    let (ended, (changed, received)) = tokio::try_join!(fetched, change)?;
    ensure!(changed.elapsed() < Duration::from_secs(5), "it took {:?}", changed.elapsed());
    ensure!(ended.stdout.starts_with("ended ") && ended.stdout != "ended 0\n", "it is cut: {ended}");
    Ok(received)
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a13_what_is_under_way_ends_within_five_seconds_when_its_rule_goes() -> Result<()> {
    with_rules(json!([reading("docs", &["docs.example"])]), async |out| {
        is_cut(out, "curl -sS --no-buffer https://docs.example/slow", json!([])).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn what_went_out_is_in_the_status() -> Result<()> {
    // The promise is two seconds, and one of the question itself. It takes longer on a busy machine: the quickest of a few counts.
    const LIMIT: Duration = Duration::from_secs(3);
    with_rules(json!([reading("docs", &["docs.example"])]), async |out| {
        let line =
            "curl -sS https://docs.example/ https://docs.example/; curl -s https://hidden.example/; true";
        let mut quickest = Duration::MAX;
        for round in 1..=3 {
            out.bash(line).await?.ok()?;
            let (decided, expected) = (Instant::now(), format!("{} {round}", 2 * round));
            let uploaded = eventually(PATIENCE, "each request in the status, and each refusal", async || {
                let counted =
                    "{.status.egress.uploadedBytes} {.status.egress.allowed} {.status.egress.denied}";
                let counted = out.lab.fields(out.namespace, "workspace/out", counted).await?;
                let (uploaded, counts) = counted.split_once(' ').unwrap_or_default();
                anyhow::Ok((counts == expected).then(|| uploaded.to_owned()))
            })
            .await?;
            ensure!(uploaded.parse::<u64>()? > 50 * round, "{uploaded} bytes after {expected}");
            quickest = quickest.min(decided.elapsed());
            if quickest < LIMIT {
                return Ok(());
            }
        }
        bail!("it took {quickest:?} at best")
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b20_what_is_passed_through_ends_at_its_budget() -> Result<()> {
    let rules = json!([{
        "name": "opaque", "hosts": ["static.docs.example"], "passthrough": {"acknowledged": "uninspected"},
        "budget": {"upload": "8Ki"},
    }]);
    with_rules(rules, async |out| {
        // The host's own certificate, which only the gateway trusts.
        let fetch = "curl -sSk --max-time 20 https://static.docs.example/";
        let small = out.bash(fetch).await?.ok()?;
        ensure!(small.stdout.contains("ws-lab docs"), "{small}");
        let path = format!("/upload/{}", canary()?);
        let large = format!("head -c 20000 /dev/urandom | {fetch}{} --data-binary @-", &path[1..]);
        let large = out.bash(&large).await?;
        ensure!(!large.is_ok(), "{large}");
        ensure!(out.lab.asked(&path)?.iter().all(|request| request["status"] != 200), "it arrived whole");
        let spent =
            out.lab.fields(out.namespace, "workspace/out", "{.status.egress.rules[0].reservedBytes}").await?;
        ensure!(spent.parse::<u64>()? <= 8 << 10, "{spent}");
        let expected = [("static.docs.example", "opaque", 1), ("static.docs.example", "over-budget", 1)];
        these_alone_are_told(out, &expected).await
    })
    .await
}
