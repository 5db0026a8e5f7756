//! Red team, B27: the authority that stands for all hosts. Workspaces trust it, and its key is nowhere in them.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use ws_tests::class::reading;

use crate::way_out::{Out, with_rules};

const HOST: &str = "docs.example";

/// Lists the files with a private key in them, as one a line, then the number of lines with one in the environments of processes.
const SEARCH: &str = "grep -rlsI -e '--BEGIN [A-Z ]*PRIVATE KEY' / --exclude-dir=sys --exclude-dir=proc --exclude-dir=share; \
    cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c 'BEGIN [A-Z ]*PRIVATE KEY'; true";
/// The certificate that is shown for a host, as far as it says what it is for.
const SHOWN: &str = "echo | openssl s_client -proxy ${HTTPS_PROXY#http://} -connect docs.example:443 -servername docs.example \
    2>/dev/null | openssl x509 -noout -ext basicConstraints,subjectAltName 2>&1";

/// Files of the workspace's own with private keys in them, and environments that have one.
async fn keys(out: &Out<'_>, before: &str) -> Result<(Vec<String>, u32)> {
    let found = out.bash(&format!("{before}{SEARCH}")).await?.ok()?;
    let (files, count) = found.stdout.trim_end().rsplit_once('\n').unwrap_or(("", found.stdout.trim_end()));
    let count = count.parse().with_context(|| found.to_string())?;
    // Below /usr are those that packages bring along for their tests.
    let own = files.lines().filter(|file| file.starts_with('/') && !file.starts_with("/usr/"));
    Ok((own.map(str::to_owned).collect(), count))
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b27_the_authority_is_in_the_pod_and_its_key_is_not() -> Result<()> {
    with_rules(json!([reading("docs", &[HOST])]), async |out| {
        let shown = out.bash(SHOWN).await?.ok()?.stdout;
        ensure!(shown.contains("DNS:docs.example") && !shown.contains("CA:TRUE"), "a leaf for one name: {shown}");
        // It signs no other authority, and vouches for no address (RFC 5280 §4.2.1.9, §4.2.1.10).
        let authority = out.lab.fields(out.namespace, "workspace/out", "{.status.egress.authority}").await?;
        let limits = ["attach", "out", "--", "openssl", "x509", "-noout", "-ext", "basicConstraints,nameConstraints"];
        let limits = out.ws.run_with_input(authority.clone().into_bytes(), &limits).await?.ok()?;
        for limit in ["CA:TRUE, pathlen:0", "Excluded:", "IP:0.0.0.0/0.0.0.0", "IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0"] {
            ensure!(limits.stdout.contains(limit), "{limit}: {limits}");
        }
        let trusted = out.bash("cat ~/.ws/authorities.pem").await?.ok()?;
        ensure!(trusted.stdout.contains(authority.trim()), "it is what programs trust: {trusted}");

        let (files, environments) = keys(out, "").await?;
        ensure!(files.is_empty() && environments == 0, "{files:?}, and {environments} environments");
        // The control: the same search finds what is planted.
        let plant = "key='-----BEGIN EC PRIVATE KEY-----'; echo \"$key\" > ~/planted.pem; PLANTED=$key sleep 60 >/dev/null 2>&1 & sleep 0.5; ";
        let (files, environments) = keys(out, plant).await?;
        let is_planted = matches!(&files[..], [file] if file.ends_with("/planted.pem"));
        ensure!(is_planted && environments == 1, "{files:?}, and {environments} environments");

        let read = "curl -sk --max-time 3 https://kubernetes.default.svc/ || echo out of reach";
        let read = out.bash(read).await?;
        ensure!(read.stdout.contains("out of reach"), "where its Secret is: {read}");
        Ok(())
    })
    .await
}
