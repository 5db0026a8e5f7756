//! Red team, B15: hosts that send a program elsewhere. Each hop is a request of its own, and decided on as one.

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{probe::canary, project::Project};

use crate::{
    audited::{are_told, these_alone_are_told},
    toolchains::IMAGE,
    way_out::{Out, with_project},
};

/// Sends whoever asks for `/away/SCHEME/HOST/PATH` there.
const HOST: &str = "docs.example";
/// Answers as the other does, and no rule of any test names it.
const DENIED: &str = "hidden.example";

/// Programs that go where they are sent. `$1` is the URL that leads away; each adds what it asks for below it.
const PROGRAMS: [(&str, &str); 6] = [
    ("curl", "curl -sS -L -o /dev/null -w '%{http_code}' --max-time 20 $1"),
    ("Python", "python3 -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=20)' $1"),
    ("Node", "node -e 'fetch(process.argv[1]).then(r => console.log(r.status))' $1"),
    ("git", "git -c http.followRedirects=true ls-remote $1"),
    ("pip", "python3 -m pip download --no-cache-dir --retries 0 --index-url $1 ws-sample"),
    ("npm", "npm view ws-sample --fetch-retries 0 --registry $1/"),
];

#[tokio::test]
#[ignore = "needs the lab"]
async fn b15_each_hop_of_a_redirect_is_decided_on() -> Result<()> {
    let rule = json!({"name": "docs", "hosts": [HOST], "allow": [{"methods": ["GET"], "paths": ["/**"], "query": ["*"]}]});
    let changes = json!({"image": IMAGE, "egress": {"rules": [rule]}});
    with_project(&Project::empty()?, changes, async |out| {
        for (program, line) in PROGRAMS {
            let (hidden, shown) = (canary()?, canary()?);
            let sent = sent_to(out, line, &format!("https/{DENIED}/{hidden}")).await?;
            ensure!(out.lab.asked(&format!("/{hidden}"))?.is_empty(), "{program} arrived there: {sent}");
            let left = out.lab.asked(&format!("/away/https/{DENIED}/{hidden}"))?;
            ensure!(!left.is_empty(), "{program} was sent there: {sent}");
            let sent = sent_to(out, line, &format!("https/{HOST}/{shown}")).await?;
            let arrived = out.lab.asked(&format!("/{shown}"))?;
            ensure!(!arrived.is_empty(), "the control: {program} goes where it is sent: {sent}");
        }
        ensure!(!out.lab.resolved()?.contains(&format!(" {DENIED}. ")), "a name was asked for");
        are_told(out, &[(DENIED, "host-not-allowed")]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b15_no_redirect_leads_out_of_tls_nor_to_an_address() -> Result<()> {
    let rule = json!({"name": "docs", "hosts": [HOST], "allow": [{"methods": ["GET"], "paths": ["/**"], "query": ["*"]}]});
    with_project(&Project::empty()?, json!({"egress": {"rules": [rule]}}), async |out| {
        let (_, curl) = PROGRAMS[0];
        let hidden = canary()?;
        for to in [format!("http/{HOST}/{hidden}"), format!("http/169.254.169.254/{hidden}")] {
            let sent = sent_to(out, curl, &to).await?;
            ensure!(sent == "403", "{to}: {sent}");
            ensure!(!out.lab.asked(&format!("/away/{to}"))?.is_empty(), "it was sent there: {sent}");
        }
        ensure!(out.lab.asked(&format!("/{hidden}"))?.is_empty(), "it arrived without TLS");
        ensure!(!out.lab.has_sunk(&hidden)?, "it arrived at an address");
        let expected =
            [(HOST, "docs", 2), (HOST, "port-not-allowed", 1), ("169.254.169.254", "ip-literal", 1)];
        these_alone_are_told(out, &expected).await?;
        let shown = canary()?;
        sent_to(out, curl, &format!("https/{HOST}/{shown}")).await?;
        ensure!(!out.lab.asked(&format!("/{shown}"))?.is_empty(), "the control arrives");
        Ok(())
    })
    .await
}

/// What a program prints, and says besides, that asks for what leads there.
async fn sent_to(out: &Out<'_>, line: &str, to: &str) -> Result<String> {
    let ran = out.bash(&format!("cd $(mktemp -d); set -- https://{HOST}/away/{to}; {line}")).await?;
    Ok(if ran.is_ok() { ran.stdout } else { ran.to_string() })
}
