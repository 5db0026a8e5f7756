use russh::{ChannelMsg, Pty};

use super::fixture::{Workspace, gather, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_the_kind_size_and_modes_that_were_asked_for() {
    let workspace = Workspace::start().await;
    let client = workspace.client().await;
    let channel = client.channel_open_session().await.unwrap();
    let modes = [(Pty::ECHO, 0), (Pty::VINTR, 7), (Pty::IUTF8, 1)];
    channel.request_pty(false, "xterm-direct", 132, 43, 800, 600, &modes).await.unwrap();
    channel.exec(false, "tty >/dev/null && stty size && stty -a && echo $TERM").await.unwrap();
    let output = text(&gather(channel).await.output);
    assert!(output.starts_with("43 132\r\n"), "{output}");
    assert!(
        output.contains("intr = ^G") && output.contains(" -echo ") && output.contains(" iutf8"),
        "{output}"
    );
    assert!(output.ends_with("xterm-direct\r\n"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_told_when_its_terminal_changes_size() {
    let workspace = Workspace::start().await;
    let client = workspace.client().await;
    let mut channel = client.channel_open_session().await.unwrap();
    channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    channel
        .exec(false, "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done")
        .await
        .unwrap();
    while !matches!(channel.wait().await.unwrap(), ChannelMsg::Data { .. }) {}
    channel.window_change(100, 50, 0, 0).await.unwrap();
    assert_eq!(text(&gather(channel).await.output), "50 100\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_shell_on_a_terminal_runs_what_is_typed() {
    let workspace = Workspace::start().await;
    let mut ssh = workspace.ssh();
    let child = ssh.args(["-tt", "127.0.0.1"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let output = super::fixture::finish(child, "echo $((6*7)) $0\nexit 1\n").await;
    assert!(text(&output.stdout).contains("42 -bash\r\n"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_input_reaches_a_program_that_reads_lines() {
    let workspace = Workspace::start().await;
    let output = workspace.run_with(&["-tt"], "cat; echo done", "line\n").await;
    assert_eq!(text(&output.stdout), "line\r\nline\r\ndone\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_is_typed_interrupts() {
    let workspace = Workspace::start().await;
    let client = workspace.client().await;
    let mut channel = client.channel_open_session().await.unwrap();
    channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
    channel.exec(false, "echo ready; exec sleep 100").await.unwrap();
    while !matches!(channel.wait().await.unwrap(), ChannelMsg::Data { .. }) {}
    channel.data(b"\x03".as_slice()).await.unwrap();
    assert_eq!(gather(channel).await.signal.as_deref(), Some("INT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_long_output_is_lost_at_the_end() {
    let workspace = Workspace::start().await;
    let output = workspace.run_with(&["-tt"], "seq 1 200000", "").await;
    let output = text(&output.stdout);
    assert_eq!(output.lines().count(), 200_000);
    assert!(output.ends_with("200000\r\n"));
}
