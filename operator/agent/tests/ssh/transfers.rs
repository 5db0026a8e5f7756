use std::{fs, io::Write, sync::mpsc};

use russh::{Channel, ChannelMsg, client::Msg};
use ws_tree::{Confined, Limits, Receipt, SendOptions, Source, SourceKind, TreePath};

use super::fixture::{Workspace, exec, gather, text};

/// Collects what a sender writes.
struct Pieces(mpsc::Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.send(data.to_vec()).unwrap();
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn subsystem(
    workspace: &Workspace,
    name: &str,
) -> (russh::client::Handle<super::fixture::Pinned>, Channel<Msg>, bool) {
    let client = workspace.client().await;
    let mut channel = client.channel_open_session().await.unwrap();
    channel.request_subsystem(true, name).await.unwrap();
    let granted = loop {
        match channel.wait().await.unwrap() {
            ChannelMsg::Success => break true,
            ChannelMsg::Failure => break false,
            _ => (),
        }
    };
    (client, channel, granted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_received_once_and_its_changes_are_sent() {
    let workspace = Workspace::start().await;
    let (_client, channel, granted) = subsystem(&workspace, ws_api::ssh::CHANGES_SUBSYSTEM).await;
    assert!(granted);
    let given = gather(channel).await;
    assert_eq!((given.status, text(&given.error)), (Some(1), "ws: no project was received\r\n".into()));

    let source = workspace.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("kept"), "kept").unwrap();
    fs::write(source.join("edited"), "before").unwrap();
    let paths = ["edited", "kept"];
    let sources: Vec<Source> = paths
        .into_iter()
        .map(|path| Source {
            path: TreePath::parse(path.as_bytes()).unwrap(),
            kind: SourceKind::File { size: 6 },
        })
        .collect();
    let (sender, pieces) = mpsc::channel();
    let sent =
        ws_tree::send(&Confined::open(&source).unwrap(), &sources, Pieces(sender), &SendOptions::default())
            .unwrap();

    let (_client, channel, granted) = subsystem(&workspace, ws_api::ssh::RECEIVE_SUBSYSTEM).await;
    assert!(granted);
    for piece in pieces {
        channel.data_bytes(piece).await.unwrap();
    }
    channel.eof().await.unwrap();
    let given = gather(channel).await;
    assert_eq!((given.status, text(&given.error)), (Some(0), String::new()));
    let receipt = Receipt::decode(given.output.as_slice()).unwrap();
    assert!(sent.matches(&receipt));
    assert_eq!(fs::read(workspace.project().join("kept")).unwrap(), b"kept");

    let (client, _, granted) = subsystem(&workspace, ws_api::ssh::RECEIVE_SUBSYSTEM).await;
    assert!(!granted);
    assert_eq!(exec(&client, "echo after > edited; mkdir new; echo new > new/file").await.status, Some(0));
    let (_client, channel, granted) = subsystem(&workspace, ws_api::ssh::CHANGES_SUBSYSTEM).await;
    assert!(granted);
    let given = gather(channel).await;
    assert_eq!((given.status, text(&given.error)), (Some(0), String::new()));
    let spool = tempfile::tempfile().unwrap();
    let changes =
        ws_tree::receive_changes(given.output.as_slice(), Some(&sent.manifest), spool, &Limits::CHANGES)
            .unwrap();
    let paths: Vec<String> = changes.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(paths, ["edited", "new", "new/file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_no_project_is_refused_with_a_reason() {
    let workspace = Workspace::start().await;
    let (_client, channel, granted) = subsystem(&workspace, ws_api::ssh::RECEIVE_SUBSYSTEM).await;
    assert!(granted);
    channel.data_bytes("GET / HTTP/1.1\r\n\r\n".repeat(1000)).await.unwrap();
    channel.eof().await.unwrap();
    let given = gather(channel).await;
    assert_eq!((given.status, given.output), (Some(1), vec![]));
    assert!(text(&given.error).starts_with("ws: "), "{}", text(&given.error));
}
