//! What deadlocks or stalls a server that runs russh as it comes.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use russh::client::Handle;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, Command},
    time::timeout,
};

use super::fixture::{LONG, Pinned, Workspace, exec, login, text};

const MIB: usize = 1 << 20;

/// Sends `length` bytes through `cat` and reads them at the same time.
async fn echo(client: &Handle<Pinned>, length: usize) {
    let channel = client.channel_open_session().await.unwrap();
    channel.exec(true, "cat").await.unwrap();
    let (mut reader, writer) = channel.split();
    let sending = tokio::spawn(async move {
        let piece = bytes::Bytes::from(vec![7; MIB]);
        for _ in 0..length / MIB {
            writer.data_bytes(piece.clone()).await.unwrap();
        }
        writer.eof().await.unwrap();
    });
    let mut received = 0;
    while let Some(message) = timeout(Duration::from_secs(20), reader.wait()).await.unwrap() {
        if let russh::ChannelMsg::Data { data } = message {
            assert!(data.iter().all(|byte| *byte == 7));
            received += data.len();
        }
    }
    sending.await.unwrap();
    assert_eq!(received, length);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_of_more_than_all_windows_goes_through_a_pipe_in_memory() {
    let workspace = Workspace::start().await;
    for capacity in [1 << 10, 64 << 10] {
        let (left, right) = tokio::io::duplex(capacity);
        let server = workspace.server.clone();
        tokio::spawn(async move { server.connection(right).await });
        echo(&login(left).await, 64 * MIB).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_goes_through_sockets_with_small_buffers() {
    let workspace = Workspace::start().await;
    let small = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4 << 10).unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket
    };
    let listening = small();
    listening.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener: TcpListener = listening.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let server = workspace.server.clone();
    tokio::spawn(async move { server.serve(listener).await });
    let stream: TcpStream = small().connect(address).await.unwrap();
    echo(&login(stream).await, 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_goes_through_the_stock_client() {
    let workspace = Workspace::start().await;
    let mut source = std::process::Command::new("head")
        .args(["-c", "256M", "/dev/zero"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let echo =
        workspace.ssh().args(["127.0.0.1", "cat"]).stdin(source.stdout.take().unwrap()).spawn().unwrap();
    let output = timeout(LONG, echo.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 256 * MIB));
    assert!(source.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_whose_input_is_not_read_stops_no_other() {
    let workspace = Workspace::start().await;
    let client = workspace.client().await;
    let stalled = client.channel_open_session().await.unwrap();
    stalled.exec(true, "sleep 4; wc -c").await.unwrap();
    let (mut reader, writer) = stalled.split();
    let filling = tokio::spawn(async move {
        let piece = bytes::Bytes::from(vec![0; MIB]);
        for _ in 0..64 {
            writer.data_bytes(piece.clone()).await.unwrap();
        }
        writer.eof().await.unwrap();
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(text(&exec(&client, "echo hi").await.output), "hi\n");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    filling.await.unwrap();
    let mut counted = Vec::new();
    while let Some(message) = timeout(LONG, reader.wait()).await.unwrap() {
        if let russh::ChannelMsg::Data { data } = message {
            counted.extend_from_slice(&data);
        }
    }
    assert_eq!(text(&counted).trim(), (64 * MIB).to_string());
}

/// One connection of stock `ssh` for several commands.
struct Shared<'a> {
    workspace: &'a Workspace,
    control: PathBuf,
    _master: Child,
}

impl<'a> Shared<'a> {
    async fn open(workspace: &'a Workspace) -> Self {
        let control = workspace.path("control");
        let mut master = workspace.ssh();
        master.args(["-o", "ControlMaster=yes", "-N", "-S"]).arg(&control).arg("127.0.0.1");
        let master = master.spawn().unwrap();
        super::fixture::eventually("the master listens", || control.exists()).await;
        Self { workspace, control, _master: master }
    }

    fn command(&self, line: &str) -> Command {
        let mut ssh = self.workspace.ssh();
        ssh.arg("-S").arg(&self.control).args(["127.0.0.1", line]);
        ssh
    }

    /// Fails unless a command is answered at once.
    async fn answers(&self) {
        let began = Instant::now();
        let output = timeout(LONG, self.command("echo hi").output()).await.unwrap().unwrap();
        assert_eq!(text(&output.stdout), "hi\n");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_one_channel_is_served_on_the_others() {
    let workspace = Workspace::start().await;
    let shared = Shared::open(&workspace).await;
    // Nobody reads this pipe: the window of its channel stays used up.
    let _stalled = shared.command("yes").spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    shared.answers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_given_up_stops_no_other_even_if_its_client_does_not_read() {
    let workspace = Workspace::start().await;
    let shared = Shared::open(&workspace).await;
    // Without a folder, what a program does not read can be kept in memory only.
    std::fs::remove_dir(workspace.path("spool")).unwrap();
    let overfill = async |line: &str| {
        let mut ssh = shared.command(line).stdin(Stdio::piped()).spawn().unwrap();
        timeout(LONG, ssh.stdin.take().unwrap().write_all(&vec![0; 64 * MIB])).await.unwrap().ok();
        tokio::time::sleep(Duration::from_millis(500)).await;
        ssh
    };
    let stalled = overfill("yes").await;
    shared.answers().await;
    timeout(LONG, stalled.wait_with_output()).await.unwrap().unwrap();
    let read = overfill("sleep 100").await;
    let told = timeout(LONG, read.wait_with_output()).await.unwrap().unwrap();
    assert!(text(&told.stderr).contains("ws: keeping input"), "{}", text(&told.stderr));
}
