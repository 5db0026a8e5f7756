use super::fixture::{CA, POD, Workspace, certificate, exec, text};

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
async fn a_connection_counts_until_it_ends() {
    let workspace = Workspace::start().await;
    let activity = workspace.server.activity();
    let client = workspace.client().await;
    assert_eq!(text(&exec(&client, "echo hi").await.output), "hi\n");
    assert!(activity.is_connected());
    drop(client);
    super::fixture::eventually("disconnected", || !activity.is_connected()).await;
}
