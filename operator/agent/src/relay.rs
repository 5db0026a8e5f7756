//! The proxy of the workspace's programs: what they send goes to the gateway as the agent's, byte for byte. What they may have of
//! it is decided there.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{accept, gateway::Gateway};

/// Where it listens.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3_127));
/// How long the gateway may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Relays whatever connects, as long as it is polled and there are places.
pub async fn serve(listener: TcpListener, gateway: Gateway, places: Arc<Semaphore>) {
    accept::each(listener, places, |inside| relay(inside, gateway)).await;
}

async fn relay(mut inside: TcpStream, gateway: Gateway) -> io::Result<()> {
    inside.set_nodelay(true)?;
    let mut outside = timeout(PATIENCE, gateway.connect()).await??;
    copy_bidirectional(&mut inside, &mut outside).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_programs_send_begins_with_the_agents_token() {
        let (gateway, listener) = crate::gateway::testing::gateway().await;
        let programs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = programs.local_addr().unwrap();
        tokio::spawn(serve(programs, gateway, crate::carry::places()));
        let mut program = TcpStream::connect(address).await.unwrap();
        program.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        program.shutdown().await.unwrap();
        let mut stream = listener.accept().await;
        let mut got = String::new();
        stream.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "GET / HTTP/1.1\r\n\r\n");
        stream.write_all(b"answer").await.unwrap();
        drop(stream);
        got.clear();
        program.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "answer");
    }
}
