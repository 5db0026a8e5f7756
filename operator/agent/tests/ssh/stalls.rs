//! What deadlocks or stalls a server that runs russh as it comes.

use std::{
    net::Ipv4Addr,
    process::Stdio,
    time::{Duration, Instant},
};

use russh::client::Handle;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
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

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_one_channel_is_served_on_the_others() {
    let workspace = Workspace::start().await;
    let control = workspace.path("control");
    let mut master = workspace.ssh();
    master.args(["-o", "ControlMaster=yes", "-N", "-S"]).arg(&control).arg("127.0.0.1");
    let _master = master.spawn().unwrap();
    super::fixture::eventually("the master listens", || control.exists()).await;
    // Nobody reads this pipe: the window of its channel stays used up.
    let mut stalled = workspace.ssh();
    let _stalled = stalled.arg("-S").arg(&control).args(["127.0.0.1", "yes"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let began = Instant::now();
    let mut other = workspace.ssh();
    let output = other.arg("-S").arg(&control).args(["127.0.0.1", "echo hi"]).output();
    let output = timeout(LONG, output).await.unwrap().unwrap();
    assert_eq!(text(&output.stdout), "hi\n");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
