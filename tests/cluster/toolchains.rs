//! Each language's programs trust the installation's authority, in an image that is not ws's own and with no capability. What is compiled
//! to one file, which heeds nothing around it, gets no further (red team, A02).

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{
    class::reading,
    command::run_with_input,
    probe::{INTERNET, canary, open_pod},
    project::Project,
};

use crate::{
    audited::are_told,
    egress::{OPEN, nothing_arrived_from},
    way_out::{Out, with_project},
};

/// Debian with the toolchains, and nothing of ws.
pub(crate) const IMAGE: &str = "localhost/ws-toolchains:1";

/// What is compiled before it runs: a program that no linker and no C library helps to find names and authorities.
const BUILD: &str =
    "CGO_ENABLED=0 go build -o ~/fetch fetch.go && ! readelf --program-headers ~/fetch | grep INTERP";

/// A program that reaches out.
struct Program {
    name: &'static str,
    /// Fetches something of the host `$1`.
    line: &'static str,
    /// A host that a rule names.
    host: &'static str,
    /// Is part of what is fetched.
    says: &'static str,
}

const fn program(name: &'static str, line: &'static str) -> Program {
    Program { name, line, host: "docs.example", says: "ws-lab docs" }
}

const PROGRAMS: [Program; 17] = [
    program("curl", "curl -sS --max-time 20 https://$1/"),
    program("curl that knows of no proxy", "curl -sS --max-time 20 --noproxy '*' https://$1/"),
    program("Python's socket", "python3 fetch.py socket $1"),
    program("Python's urllib", "python3 fetch.py urllib $1"),
    program("requests", "python3 fetch.py requests $1"),
    program("httpx", "python3 fetch.py httpx $1"),
    program(
        "Node's fetch",
        "node -e 'fetch(`https://${process.argv[1]}/`).then(async r => console.log(await r.text()))' $1",
    ),
    program(
        "Node's https",
        "node -e 'require(\"https\").get(`https://${process.argv[1]}/`, r => r.pipe(process.stdout))' $1",
    ),
    program("a static program", "~/fetch https://$1/"),
    program("a static program that heeds no variable", "env -i ~/fetch https://$1/"),
    program("Java's older client", "java Fetch.java older https://$1/"),
    program("Java's newer client", "java Fetch.java newer https://$1/"),
    Program {
        name: "git",
        line: "git ls-remote https://$1/ws-dev/sample",
        host: "github.com",
        says: "refs/heads/main",
    },
    Program {
        name: "npm",
        line: "npm view ws-sample dist-tags.latest --registry https://$1/",
        host: "npm.example",
        says: "1.1.0",
    },
    Program {
        name: "pip",
        line: "python3 -m pip download --dest ~/wheels --index-url https://$1/simple/ ws-sample",
        host: "pypi.example",
        says: "Saved",
    },
    Program {
        name: "cargo",
        line: "CARGO_REGISTRIES_LAB_INDEX=sparse+https://$1/index/ cargo info ws-sample --registry lab",
        host: "crates.example",
        says: "version: 1.1.0",
    },
    Program {
        name: "go",
        line: "GOPROXY=https://$1 GOSUMDB=off go list -m -versions lab.example/sample",
        host: "go.example",
        says: "v1.0.0 v1.1.0",
    },
];

async fn reaches_its_host_and_no_other(out: &Out<'_>, program: &Program) -> Result<()> {
    let Program { name, line, host, says } = program;
    let denied = out.bash(&format!("set -- hidden.example; {line}")).await?;
    ensure!(!denied.is_ok() && !denied.stdout.contains(says), "{name} got something else: {denied}");
    ensure!(!out.lab.resolved()?.contains("hidden.example."), "{name} had the name resolved");
    let allowed = out.bash(&format!("set -- {host}; {line}")).await?.ok()?;
    ensure!(allowed.stdout.contains(says), "{name}: {allowed}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a02_each_toolchain_trusts_the_authority_and_reaches_what_a_rule_names_alone() -> Result<()> {
    let project = Project::empty()?
        .with("fetch.py", include_str!("toolchains/fetch.py"))?
        .with("fetch.go", include_str!("toolchains/fetch.go"))?
        .with("Fetch.java", include_str!("toolchains/Fetch.java"))?;
    let rules = json!([
        reading("docs", &["docs.example"]),
        {"name": "git", "preset": "github", "repositories": ["ws-dev/sample"]},
        {"name": "npm", "preset": "npm", "hosts": ["npm.example"]},
        {"name": "pypi", "preset": "pypi", "hosts": ["pypi.example"]},
        {"name": "cargo", "preset": "cargo", "hosts": ["crates.example"]},
        {"name": "go", "preset": "go", "hosts": ["go.example"]},
    ]);
    let changes = json!({"image": IMAGE, "egress": {"rules": rules}});
    with_project(&project, changes, async |out| {
        let capabilities = out.bash("grep Cap /proc/self/status | sort -u -k2 | cut -f2").await?.ok()?;
        ensure!(capabilities.stdout == "0000000000000000\n", "{capabilities}");
        out.bash(BUILD).await?.ok()?;
        for program in &PROGRAMS {
            reaches_its_host_and_no_other(out, program).await?;
        }
        a_static_program_leads_to_no_address(out).await?;
        java_reads_all_authorities(out).await
    })
    .await
}

/// Neither past the gateway nor through it.
async fn a_static_program_leads_to_no_address(out: &Out<'_>) -> Result<()> {
    let (hidden, shown, began) = (canary()?, canary()?, SystemTime::now());
    let past = out.bash(&format!("timeout 5 env -i ~/fetch http://{INTERNET}/{hidden}")).await?;
    ensure!(!past.is_ok() && !past.stdout.contains("ws-lab"), "past the gateway: {past}");
    let through = out.bash(&format!("~/fetch http://{INTERNET}/{hidden}")).await?.ok()?;
    ensure!(through.stdout.contains(" denied: it is an IP address"), "through the gateway: {through}");
    are_told(out, &[(INTERNET, "ip-literal")]).await?;
    // The control: the same program, where nothing contains it.
    let program = out.bash("base64 -w0 ~/fetch").await?.ok()?.stdout;
    let line = format!(
        "cd $(mktemp -d) && base64 -d > fetch && chmod +x fetch && ./fetch http://{INTERNET}/{shown}"
    );
    open_pod(out.lab, out.namespace, OPEN).await?;
    let exec = out.lab.kubectl_command(&["-n", out.namespace, "exec", "-i", OPEN, "--", "bash", "-c", &line]);
    let got = run_with_input(exec, program.into_bytes(), Duration::from_mins(1)).await?.ok()?;
    ensure!(got.stdout.contains("ws-lab internet") && out.lab.sunk()?.contains(&shown), "{got}");
    ensure!(!out.lab.has_sunk(&hidden)?, "it arrived");
    nothing_arrived_from(out.lab, out.namespace, "out", began).await
}

/// Java's own tool finds as many as there are for others, and options of one's own replace ours.
async fn java_reads_all_authorities(out: &Out<'_>) -> Result<()> {
    let listed = "keytool -list -keystore ~/.ws/authorities.jks -storepass changeit | grep -c trustedCertEntry; \
                  grep -c BEGIN ~/.ws/authorities.pem";
    let listed = out.bash(listed).await?.ok()?;
    let counts: Vec<u32> = listed.stdout.lines().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(matches!(counts[..], [java, others] if java == others && java > 100), "{listed}");
    let own = out.bash("JAVA_TOOL_OPTIONS=-Dnone java Fetch.java newer https://docs.example/").await?;
    ensure!(!own.is_ok() && own.stderr.contains("unable to find valid certification path"), "{own}");
    Ok(())
}
