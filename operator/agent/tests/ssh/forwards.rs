use russh::{ChannelOpenFailure, Error};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::fixture::{Workspace, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_workspace_is_forwarded_with_half_close() {
    let workspace = Workspace::start().await;
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = service.accept().await.unwrap();
        let mut request = String::new();
        stream.read_to_string(&mut request).await.unwrap();
        stream.write_all(request.to_uppercase().as_bytes()).await.unwrap();
    });
    let output = workspace.run_with(&["-W", &format!("localhost:{port}")], "", "hello").await;
    assert_eq!(text(&output.stdout), "HELLO", "{}", text(&output.stderr));
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_loopback_is_forwarded() {
    let workspace = Workspace::start().await;
    let client = workspace.client().await;
    let own = u32::from(workspace.address.port());
    for (host, port) in
        [("10.0.0.1", 80), ("example.org", 80), ("127.0.0.1", own), ("localhost", own), ("::", 80)]
    {
        let refused = client.channel_open_direct_tcpip(host, port, "127.0.0.1", 1).await.err();
        assert!(
            matches!(
                refused,
                Some(Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))
            ),
            "{host}: {refused:?}"
        );
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let refused =
        client.channel_open_direct_tcpip("127.0.0.1", u32::from(closed), "127.0.0.1", 1).await.err();
    assert!(matches!(refused, Some(Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed))));
    let refused = client.channel_open_direct_streamlocal("/run/some.sock").await.err();
    assert!(matches!(refused, Some(Error::ChannelOpenFailure(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_client_is_forwarded_into_the_workspace() {
    let workspace = Workspace::start().await;
    for remote in ["0:localhost:22", "127.0.0.1:0:localhost:22", "/tmp/ws-remote.sock:/tmp/local.sock"] {
        let options = ["-o", "ExitOnForwardFailure=yes", "-R", remote];
        let output = workspace.run_with(&options, "echo ran", "").await;
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(255), String::new()), "{remote}");
    }
}
