use super::fixture::{Workspace, text};

#[tokio::test(flavor = "multi_thread")]
async fn other_ciphers_of_stock_clients_work_too() {
    let workspace = Workspace::start().await;
    for cipher in ["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com"] {
        let mut ssh = workspace.ssh();
        let output =
            ssh.args(["-c", cipher, "127.0.0.1", "head -c 3000000 /dev/zero"]).output().await.unwrap();
        assert_eq!(output.stdout.len(), 3_000_000, "{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_exchanged_again_while_data_flows() {
    let workspace = Workspace::start().await;
    let output =
        workspace.run_with(&["-o", "RekeyLimit=1M"], "cat", &"0123456789abcdef".repeat(1 << 20)).await;
    assert_eq!(output.stdout.len(), 16 << 20, "{}", text(&output.stderr));
}
