//! The canary port, which no workspace's network policy allows. That it is reached is all there is to it.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use ws_runtime::drain;

use crate::metrics::Metrics;

const LIMITS: drain::Limits = drain::Limits { connections: 1_024, deadline: Duration::from_secs(1) };
const PATIENCE: Duration = Duration::from_secs(2);
const GREETING: &[u8] =
    b"ws-gateway: this is the canary port. Where a workspace can read this, its network policy is not enforced.\n";

/// Greets whoever connects, until `shutdown`.
pub async fn serve(listener: TcpListener, metrics: Metrics, shutdown: CancellationToken) {
    drain::serve(listener, LIMITS, shutdown, |stream, _, _| {
        metrics.canary_connections.inc();
        greet(stream)
    })
    .await;
}

async fn greet(mut stream: TcpStream) {
    let greeting = async {
        stream.write_all(GREETING).await?;
        stream.shutdown().await
    };
    // Whether the greeting arrives matters to nobody: the connection was the evidence.
    timeout(PATIENCE, greeting).await.ok();
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_canary_greets_and_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, shutdown) = (Metrics::default(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, metrics.clone(), shutdown.clone()));
        let mut greeting = Vec::new();
        TcpStream::connect(address).await.unwrap().read_to_end(&mut greeting).await.unwrap();
        assert_eq!(greeting, GREETING);
        assert_eq!(metrics.canary_connections.get(), 1);
        shutdown.cancel();
        server.await.unwrap();
    }
}
