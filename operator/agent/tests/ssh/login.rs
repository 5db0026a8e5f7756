use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::fixture::{CA, POD, Workspace, certificate, exec, login, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_ca_for_this_pod_logs_in() {
    let workspace = Workspace::start().await;
    let output = workspace.run("echo in").await;
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("in\n".into(), String::new()));
    assert!(workspace.server.activity().was_attached());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_is_refused() {
    let refused = |output: &std::process::Output| {
        assert_eq!(output.status.code(), Some(255), "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains("Permission denied (publickey)"), "{}", text(&output.stderr));
    };
    let workspace = Workspace::start().await;
    for certificate in
        [certificate(CA, "another-pod", 600), certificate(CA, POD, -60), certificate(9, POD, 600)]
    {
        workspace.write_certificate(&certificate);
        refused(&workspace.run("true").await);
    }
    workspace.write_certificate(&certificate(CA, POD, 600));
    for user in ["root", "ws2", "WS"] {
        refused(&workspace.ssh_as(user).args(["127.0.0.1", "true"]).output().await.unwrap());
    }
    std::fs::remove_file(workspace.path("key-cert.pub")).unwrap();
    refused(&workspace.run("true").await);
    refused(&workspace.run_with(&["-o", "PubkeyAuthentication=no"], "true", "").await);
    assert!(!workspace.server.activity().was_attached());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_log_in_keeps_no_place_from_who_does() {
    let workspace = Workspace::start().await;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        let mut stranger = TcpStream::connect(workspace.address).await.unwrap();
        stranger.read_exact(&mut [0; 12]).await.unwrap();
        strangers.push(stranger);
    }
    assert_eq!(text(&workspace.run("echo in").await.stdout), "in\n");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), strangers[0].read_to_end(&mut rest)).await.unwrap().ok();
    let last = timeout(Duration::from_millis(100), strangers[99].read_to_end(&mut rest)).await;
    assert!(last.is_err(), "the oldest gives way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_counts_until_it_ends() {
    let workspace = Workspace::start().await;
    let activity = workspace.server.activity();
    let client = workspace.client().await;
    assert_eq!(text(&exec(&client, "echo hi").await.output), "hi\n");
    assert!(activity.is_connected());
    drop(client);
    super::fixture::eventually("disconnected", || !activity.is_connected()).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_heard_of_no_more_does_not_count() {
    let workspace = Workspace::start().await;
    let activity = workspace.server.activity();
    let (client, mut near) = tokio::io::duplex(1 << 16);
    let (mut far, stream) = tokio::io::duplex(1 << 16);
    let server = workspace.server.clone();
    let serving = tokio::spawn(async move { server.connection(stream).await });
    let hop = tokio::spawn(async move {
        let carried = tokio::io::copy_bidirectional(&mut near, &mut far);
        // What a network that is gone looks like: the hop still has the connection, and nothing comes.
        tokio::time::timeout(Duration::from_mins(1), carried).await.unwrap_err();
        std::future::pending::<()>().await;
    });
    let _client = login(client).await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(activity.is_connected(), "it may come back");
    timeout(Duration::from_mins(5), serving).await.unwrap().unwrap();
    assert!(!activity.is_connected());
    hop.abort();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_log_in_is_cut_off() {
    let workspace = Workspace::start().await;
    for greeting in ["", "SSH-2.0-silent\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        let (mut client, stream) = tokio::io::duplex(1 << 16);
        client.write_all(greeting.as_bytes()).await.unwrap();
        let began = Instant::now();
        timeout(Duration::from_secs(11), workspace.server.connection(stream)).await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(10), "{greeting}");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.starts_with(b"SSH-2.0-ws\r\n"));
    }
}
