//! SSH into a workspace, with our client and with stock `ssh`; and who is refused (red team, group D).

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    time::{Instant, timeout},
};
use ws_tests::{
    command::{run, run_with_input},
    lab::Lab,
    namespace::with_namespace,
    project::Project,
    stock::Stock,
    wait::{PATIENCE, eventually},
    ws::Ws,
};

const MEBIBYTE: usize = 1 << 20;

#[tokio::test]
#[ignore = "needs the lab"]
async fn stock_ssh_runs_commands_and_hears_how_they_ended() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "stock").await?;
        let split = session.run(&[], &["echo out; echo err >&2; exit 3"]).await?.code(3)?;
        assert_eq!((split.stdout.as_str(), split.stderr.as_str()), ("out\n", "err\n"));
        // ssh says 255 for a command that a signal ended.
        session.run(&[], &["kill -TERM $$"]).await?.code(255)?;
        let sum = session.run_with_input(b"3\n1\n2\n".to_vec(), &["sort"]).await?.ok()?;
        assert_eq!(sum.stdout, "1\n2\n3\n", "the end of the input arrives, and what comes after it");
        let terminal = session.run(&["-tt"], &["test -t 0 && stty size"]).await?.ok()?;
        ensure!(terminal.stdout.split_whitespace().count() == 2, "{terminal}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn only_language_and_terminal_variables_reach_a_session() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "variables").await?;
        let options = ["-o", "SetEnv=LC_TEST=yes SECRET=no LD_PRELOAD=no"];
        let environment = session.run(&options, &["env"]).await?.ok()?;
        ensure!(environment.stdout.contains("LC_TEST=yes"), "{environment}");
        ensure!(
            !environment.stdout.contains("=no\n") && !environment.stdout.contains("\nWS_"),
            "{environment}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn bulk_through_cat_comes_back_whole() -> Result<()> {
    const BYTES: usize = 64 * MEBIBYTE;
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "echo").await?;
        let echoed = session.run_with_input(vec![b'x'; BYTES], &["cat"]).await?.ok()?;
        assert_eq!(echoed.stdout.len(), BYTES);
        let ws = Ws::new(lab, namespace)?;
        ws.up("ours", Project::empty()?.path()).await?;
        let echoed = ws.run_with_input(vec![b'x'; BYTES], &["attach", "ours", "--", "cat"]).await?.ok()?;
        assert_eq!(echoed.stdout.len(), BYTES);
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_channel_that_nobody_reads_holds_up_no_other() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "hol").await?;
        let socket = format!("ControlPath={}", session.path("control").display());
        let master = ["-o", "ControlMaster=yes", "-o", &socket];
        let unread = session.command(&master, &["sleep 20; cat >/dev/null"]);
        let mut stalled =
            tokio::spawn(run_with_input(unread, vec![0; 64 * MEBIBYTE], Duration::from_secs(80)));
        ensure!(
            timeout(Duration::from_secs(4), &mut stalled).await.is_err(),
            "the first channel is not stalled"
        );
        let second = ["-o", "ControlMaster=no", "-o", &socket];
        let asked = Instant::now();
        assert_eq!(session.run(&second, &["echo hi"]).await?.ok()?.stdout, "hi\n");
        ensure!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        stalled.abort();
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn d01_another_host_key_is_refused_before_anything_is_said() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "host").await?;
        session.run(&[], &["true"]).await?.ok()?;
        session.key("other").await?;
        fs::write(session.path("known_hosts"), format!("workspace {}\n", session.public_key("other")?))?;
        let refused = session.run(&[], &["echo reached"]).await?.code(255)?;
        ensure!(
            refused.stdout.is_empty() && refused.stderr.contains("Host key verification failed"),
            "{refused}"
        );
        let ws = Ws::new(lab, namespace)?;
        ws.up("ours", Project::empty()?.path()).await?;
        ws.bash("ours", "echo reached").await?.ok()?;
        let other =
            json!([{"op": "replace", "path": "/status/ssh/hostKey", "value": session.public_key("other")?}]);
        patch_status(lab, namespace, "ours", &other).await?;
        let refused = ws.bash("ours", "echo reached").await?.code(76)?;
        ensure!(refused.stdout.is_empty() && refused.stderr.contains("host key"), "{refused}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn d02_only_the_certificate_for_this_pod_opens_it() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "mine").await?;
        session.run(&[], &["true"]).await?.ok()?;
        let neighbour = Stock::up(lab, namespace, "theirs").await?;
        let refused = async |options: &[&str], why: &str| -> Result<()> {
            let output = session.run(options, &["echo reached"]).await?.code(255)?;
            ensure!(
                output.stdout.is_empty() && output.stderr.contains("Permission denied"),
                "{why}: {output}"
            );
            Ok(())
        };
        fs::rename(session.path("id-cert.pub"), session.path("aside"))?;
        refused(&[], "a key without its certificate").await?;
        fs::rename(session.path("aside"), session.path("id-cert.pub"))?;
        refused(&["-l", "root"], "another user").await?;
        // The neighbour's key and certificate, for the neighbour's pod.
        let (key, certificate) = (neighbour.path("id"), neighbour.path("id-cert.pub"));
        fs::copy(certificate, session.path("id-cert.pub"))?;
        fs::copy(key, session.path("id"))?;
        refused(&[], "a certificate for another pod").await?;
        // A certificate of another authority, for the right pod and a key of our own.
        session.key("ca").await?;
        session.key("forged").await?;
        let principal = lab.fields(namespace, "pod/mine", "{.metadata.uid}").await?;
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-I", "forged", "-n", &principal, "-s"])
            .arg(session.path("ca"))
            .arg(session.path("forged.pub"));
        run(sign, Duration::from_secs(10)).await?.ok()?;
        fs::rename(session.path("forged-cert.pub"), session.path("id-cert.pub"))?;
        fs::rename(session.path("forged"), session.path("id"))?;
        refused(&[], "a certificate of another authority").await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn d03_the_laptop_and_its_agent_are_not_reached_back() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "back").await?;
        let back = ["-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:9999:127.0.0.1:22"];
        let refused = session.run(&back, &["echo reached"]).await?.code(255)?;
        ensure!(refused.stderr.contains("remote port forwarding failed"), "{refused}");
        let socket = session.path("agent");
        let mut agent = Command::new("ssh-agent");
        let _agent = agent.arg("-D").arg("-a").arg(&socket).kill_on_drop(true).spawn()?;
        eventually(PATIENCE, "an agent", async || anyhow::Ok(socket.exists().then_some(()))).await?;
        let mut ssh = session.command(&["-A", "-v"], &["echo agent=$SSH_AUTH_SOCK"]);
        ssh.env("SSH_AUTH_SOCK", &socket);
        let offered = run(ssh, Duration::from_mins(1)).await?.ok()?;
        ensure!(
            offered.stderr.contains("Requesting authentication agent forwarding"),
            "nothing is proven: {offered}"
        );
        assert_eq!(offered.stdout, "agent=\n", "{offered}");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn d03_only_ports_of_the_pod_itself_are_forwarded() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let session = Stock::up(lab, namespace, "out").await?;
        let request = async |address: &str| {
            let ssh = session.command(&["-W", address], &[]);
            run_with_input(ssh, b"GET / HTTP/1.0\r\n\r\n".to_vec(), Duration::from_mins(1)).await
        };
        // The control: the same way leads to a server in the pod, which outlives the session that starts it.
        let serve =
            "cd /tmp; setsid python3 -m http.server 8000 --bind 127.0.0.1 >/dev/null 2>&1 </dev/null &";
        session.run(&[], &[serve]).await?.ok()?;
        eventually(PATIENCE, "an answer from the pod", async || {
            anyhow::Ok(request("127.0.0.1:8000").await?.stdout.starts_with("HTTP/1.0 200").then_some(()))
        })
        .await?;
        for elsewhere in ["10.96.0.1:443", "169.254.169.254:80", "telemetry.example:443"] {
            let refused = request(elsewhere).await?.code(255)?;
            ensure!(
                refused.stdout.is_empty() && refused.stderr.contains("administratively prohibited"),
                "{refused}"
            );
        }
        Ok(())
    })
    .await
}

/// Changes a Workspace's status as somebody who has taken over the operator or the gateway could.
async fn patch_status(lab: &Lab, namespace: &str, name: &str, patch: &Value) -> Result<()> {
    // kubectl reads patches as YAML, which allows no control characters, not even beyond ASCII.
    let escaped =
        |sign: char| if sign.is_ascii() { sign.into() } else { format!("\\u{:04x}", u32::from(sign)) };
    let patch: String = patch.to_string().chars().map(escaped).collect();
    let kubectl =
        ["-n", namespace, "patch", "workspace", name, "--subresource=status", "--type=json", "-p", &patch];
    lab.kubectl(&kubectl).await?.ok().map(drop)
}

/// A status with `text` wherever the cluster can say something.
fn saying(text: &str) -> Value {
    let condition = json!({
        "type": "Told", "status": "True", "reason": "Told", "message": text, "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let denied = json!({"host": text, "count": 1, "at": "2026-01-01T00:00:00Z"});
    let egress = json!({"allowed": 0, "denied": 1, "uploadedBytes": 0, "lastDenied": [denied]});
    json!([
        {"op": "add", "path": "/status/podName", "value": text},
        {"op": "add", "path": "/status/ssh/hostKey", "value": text},
        {"op": "add", "path": "/status/egress", "value": egress},
        {"op": "add", "path": "/status/message", "value": text},
        {"op": "add", "path": "/status/conditions/-", "value": condition},
    ])
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn d07_what_the_cluster_says_is_never_run_or_printed_as_it_is() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        let project = Project::empty()?;
        // The control: what is harmless is shown.
        ws.up("plain", project.path()).await?;
        // The operator corrects its part of the status as long as the pod's own changes.
        eventually(PATIENCE, "what is harmless", async || {
            patch_status(lab, namespace, "plain", &saying("harmless.example")).await?;
            let shown = ws.run(&["describe", "plain"]).await?.ok()?;
            ensure!(shown.stdout.matches("harmless.example").count() > 2, "{shown}");
            anyhow::Ok(Some(()))
        })
        .await?;
        for (number, text) in [
            "$(touch pwned)",
            "`touch pwned`",
            "fine\nPWNED",
            "-oProxyCommand=touch pwned",
            "../../../../api/v1/secrets",
            "\u{1b}]0;PWNED\u{7}\u{9b}31m",
            "\u{202e}PWNED",
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("said-{number}");
            ws.up(&name, project.path()).await?;
            patch_status(lab, namespace, &name, &saying(text)).await?;
            let attach = ["attach", &name, "--", "true"];
            let folder = project.path().to_str().context("a name in UTF-8")?;
            let up = ["up", folder, "--name", &name, "--detach"];
            for arguments in
                [&["describe", &name][..], &["describe", &name, "--json"], &["ls", "--json"], &attach, &up]
            {
                let output = ws.run(arguments).await?;
                let may_fail = arguments == attach || arguments == up;
                ensure!(output.is_ok() || may_fail, "{text:?}: {output}");
                let printed = [output.stdout.as_str(), output.stderr.as_str()].concat();
                let raw = |sign: char| (sign.is_control() && sign != '\n') || sign == '\u{202e}';
                ensure!(!printed.contains(raw), "{text:?} is printed as it is: {output}");
                ensure!(
                    !printed.lines().any(|line| line.starts_with("PWNED")),
                    "{text:?} is a line: {output}"
                );
                for folder in [ws.home(), project.path()] {
                    ensure!(!folder.join("pwned").exists(), "{text:?} was run by {arguments:?}");
                }
            }
            ws.run(&["down", &name, "--discard"]).await?.ok()?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn our_client_separates_the_outputs_and_passes_the_code_on() -> Result<()> {
    with_namespace(async |lab, namespace| {
        let ws = Ws::new(lab, namespace)?;
        ws.up("codes", Project::empty()?.path()).await?;
        for code in [0, 1, 42, 255] {
            let line = format!("echo out; echo err >&2; exit {code}");
            let output = ws.bash("codes", &line).await?.code(code)?;
            assert_eq!(output.stdout, "out\n");
            ensure!(output.stderr.contains("err\n"), "{output}");
        }
        ws.bash("codes", "kill -KILL $$").await?.code(137)?;
        Ok(())
    })
    .await
}
