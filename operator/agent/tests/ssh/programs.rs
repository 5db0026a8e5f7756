use std::{process::Stdio, time::Duration};

use russh::Sig;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::fixture::{Workspace, eventually, exec, finish, gather, text};

#[tokio::test(flavor = "multi_thread")]
async fn output_error_output_and_status_are_passed_on() {
    let workspace = Workspace::start().await;
    for (line, code, stdout, stderr) in [
        ("true", 0, "", ""),
        ("exit 42", 42, "", ""),
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("pwd -P | sed 's|.*/home|home|'", 0, "home/project\n", ""),
        ("printf 'a\\000b' | od -An -c | tr -d ' '", 0, "a\\0b\n", ""),
        ("exec no-such-program 2>/dev/null", 127, "", ""),
    ] {
        let output = workspace.run(line).await;
        assert_eq!(
            (output.status.code(), text(&output.stdout), text(&output.stderr)),
            (Some(code), stdout.into(), stderr.into()),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_clean() {
    let workspace = Workspace::start().await;
    let mut ssh = workspace.ssh();
    ssh.env("LC_ALL", "C.UTF-8").env("LD_PRELOAD", "").env("COLORTERM", "truecolor").env("BASH_ENV", "/evil");
    ssh.args(["-o", "SendEnv=LC_* COLORTERM BASH_ENV LD_PRELOAD", "127.0.0.1", "env"]);
    let output = finish(ssh.stdin(Stdio::piped()).spawn().unwrap(), "").await;
    let output = text(&output.stdout);
    let mut names: Vec<&str> = output.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    // Those that the shell sets, and those that name the file with the authorities.
    let value = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.retain(|name| !value(name).is_some_and(|value| value.ends_with("/.ws/authorities.pem")));
    assert_eq!(
        names,
        [
            "ALL_PROXY",
            "COLORTERM",
            "HOME",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "JAVA_TOOL_OPTIONS",
            "LANG",
            "LC_ALL",
            "LOGNAME",
            "NO_PROXY",
            "PATH",
            "SHELL",
            "USER",
            "all_proxy",
            "http_proxy",
            "https_proxy",
            "no_proxy"
        ]
    );
    assert!(output.contains("\nHTTPS_PROXY=http://127.0.0.1:3127\n"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_input_reaches_the_program_and_output_goes_on() {
    let workspace = Workspace::start().await;
    let output = workspace.run_with(&[], "cat; sleep 0.2; echo after", "before\n").await;
    assert_eq!(text(&output.stdout), "before\nafter\n");
    let output = workspace.run_with(&[], "exec <&-; sleep 0.2; echo unread", &"x".repeat(1 << 20)).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "unread\n".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_without_a_terminal_runs_what_it_reads() {
    let workspace = Workspace::start().await;
    let mut ssh = workspace.ssh();
    let child = ssh.arg("127.0.0.1").stdin(Stdio::piped()).spawn().unwrap();
    let output = finish(child, "echo $0; cd /; pwd; exit 5\n").await;
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(text(&output.stdout), "-bash\n/\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reach_the_whole_process_group_and_are_reported() {
    let workspace = Workspace::start().await;
    let client = workspace.client().await;
    for (signal, reported) in [
        (Sig::TERM, "TERM"),
        (Sig::INT, "INT"),
        (Sig::KILL, "KILL"),
        (Sig::Custom("USR2".into()), "Custom(\"USR2\")"),
    ] {
        let mut channel = client.channel_open_session().await.unwrap();
        // The child, if it lived on, would keep the output open and the channel with it.
        channel.exec(true, "echo ready; sleep 100; :").await.unwrap();
        while !matches!(channel.wait().await.unwrap(), russh::ChannelMsg::Data { .. }) {}
        channel.signal(signal).await.unwrap();
        let given = gather(channel).await;
        assert_eq!((given.status, given.signal.as_deref()), (None, Some(reported)));
    }
    let given = exec(&client, "kill -SYS $$").await;
    assert_eq!(given.signal.as_deref(), Some("Custom(\"SIG31@ws.dev\")"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_ends_with_its_channel() {
    let workspace = Workspace::start().await;
    let hung_up = workspace.project().join("hung-up");
    let mut child = workspace
        .ssh()
        .args([
            "127.0.0.1",
            "trap 'echo > hung-up' HUP; (trap '' HUP; echo $BASHPID; exec sleep 1000) & wait",
        ])
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let stubborn = format!("/proc/{}", line.trim());
    assert!(std::path::Path::new(&stubborn).exists());
    child.kill().await.unwrap();
    eventually("the program is told", || hung_up.exists()).await;
    eventually("what does not listen is killed", || {
        std::fs::read_to_string(format!("{stubborn}/stat")).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_a_shell_has_time_to_save_its_work() {
    let workspace = Workspace::start().await;
    let saved = workspace.project().join("saved");
    let line = "bash -c \"exec 2>/dev/null; trap 'sleep 0.5; echo > saved; exit' HUP; echo ready; while :; do sleep 0.1; done\"; true";
    let mut child = workspace.ssh().args(["127.0.0.1", line]).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).await.unwrap();
    child.kill().await.unwrap();
    eventually("the work is saved", || saved.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_left_behind_ends_with_the_channel_too() {
    let workspace = Workspace::start().await;
    let mut child = workspace.ssh().args(["127.0.0.1", "sleep 1000 & echo $!"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let left = format!("/proc/{}/stat", line.trim());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(std::fs::exists(&left).unwrap());
    child.kill().await.unwrap();
    eventually("it is killed", || std::fs::read_to_string(&left).map_or(true, |stat| stat.contains(") Z ")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_of_what_stays_in_the_background_is_waited_for() {
    let workspace = Workspace::start().await;
    let output = workspace.run("(sleep 0.5; echo late) & echo early; exit 7").await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "early\nlate\n".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_channels_run_at_once_and_too_many_are_refused() {
    let workspace = Workspace::start().await;
    let client = workspace.client().await;
    let mut open = Vec::new();
    let refused = loop {
        match client.channel_open_session().await {
            Ok(channel) => open.push(channel),
            Err(error) => break error,
        }
    };
    assert_eq!(open.len(), 256);
    assert!(matches!(refused, russh::Error::ChannelOpenFailure(russh::ChannelOpenFailure::ResourceShortage)));
    for channel in open.drain(..50) {
        channel.exec(true, "echo hi").await.unwrap();
        assert_eq!(text(&gather(channel).await.output), "hi\n");
    }
    assert_eq!(text(&exec(&client, "echo room again").await.output), "room again\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_offered_is_refused_cleanly() {
    let workspace = Workspace::start().await;
    let output = workspace.run_with(&["-s"], "sftp", "").await;
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output.stderr).contains("subsystem request failed"), "{}", text(&output.stderr));
    let output = workspace.run_with(&["-A"], "echo agent=$SSH_AUTH_SOCK", "").await;
    assert_eq!(text(&output.stdout), "agent=\n");
    let client = workspace.client().await;
    let mut channel = client.channel_open_session().await.unwrap();
    channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await.unwrap();
    assert!(matches!(channel.wait().await, Some(russh::ChannelMsg::Failure)));
    channel.agent_forward(true).await.unwrap();
    assert!(matches!(channel.wait().await, Some(russh::ChannelMsg::Failure)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_log_in_holds_up_no_other() {
    let workspace = Workspace::start().await;
    let mut silent = tokio::net::TcpStream::connect(workspace.address).await.unwrap();
    let mut banner = [0; 8];
    silent.read_exact(&mut banner).await.unwrap();
    assert_eq!(&banner, b"SSH-2.0-");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(text(&workspace.run("echo served").await.stdout), "served\n");
}
