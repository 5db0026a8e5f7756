//! What an admin sees of the operator and the gateway.

use anyhow::{Result, ensure};
use ws_tests::lab::Lab;

/// The port of both servers' admin endpoints.
const ADMIN: u16 = 9090;

#[tokio::test]
#[ignore = "needs the lab"]
async fn each_server_is_alive_ready_and_measured() -> Result<()> {
    let lab = Lab::running().await?;
    for (server, metric) in [("ws-operator", "ws_operator_"), ("ws-gateway", "ws_gateway_")] {
        let label = format!("app.kubernetes.io/name={server}");
        let pods = [
            "-n",
            lab.ws_namespace(),
            "get",
            "pods",
            "-l",
            &label,
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ];
        let pods = lab.kubectl(&pods).await?.ok()?.stdout;
        ensure!(pods.split(' ').count() == 2, "two replicas of {server}: {pods}");
        for pod in pods.split(' ') {
            let ask = async |path: &str| {
                let url = format!("/api/v1/namespaces/{}/pods/{pod}:{ADMIN}/proxy{path}", lab.ws_namespace());
                lab.kubectl(&["get", "--raw", &url]).await?.ok()
            };
            ask("/livez").await?;
            ask("/readyz").await?;
            let metrics = ask("/metrics").await?;
            ensure!(metrics.stdout.contains(metric), "{metrics}");
        }
    }
    Ok(())
}
