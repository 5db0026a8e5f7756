//! Carries connections that programs make to a name's address on the loopback to the gateway, which decides on them as on any
//! other: a tunnel (RFC 9110 §9.3.6) to the name.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::gateway::{Gateway, is_success};

/// Connections at a time to one name and port; more wait.
const CONNECTIONS: usize = 64;
/// How long the gateway may take to decide.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest head of the gateway's answer.
const MAX_HEAD: usize = 4 << 10;
/// Time for the kernel to find what it lacked when it refused to accept a connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A name and a port of it, and the gateway that leads there.
#[derive(Clone, Debug)]
pub struct Route {
    pub gateway: Gateway,
    pub host: Arc<str>,
    pub port: u16,
}

impl Route {
    /// Carries whatever connects to `address` at the route's port.
    pub async fn serve(self, address: Ipv4Addr) -> io::Result<()> {
        let listener = TcpListener::bind((address, self.port)).await?;
        each(listener, CONNECTIONS, |stream| self.clone().carry(stream)).await;
        Ok(())
    }

    async fn carry(self, mut inside: TcpStream) -> io::Result<()> {
        let mut outside = timeout(PATIENCE, self.open()).await??;
        inside.set_nodelay(true)?;
        copy_bidirectional(&mut inside, &mut outside).await.map(drop)
    }

    /// A connection that is the host's.
    pub async fn open(&self) -> io::Result<TcpStream> {
        let Self { gateway, host, port } = self;
        let mut stream = gateway.connect().await?;
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        opened(&mut stream).await?;
        Ok(stream)
    }
}

/// Takes the head of the gateway's answer off a connection, if it is one of success.
pub async fn opened(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut head = Vec::new();
    // Byte by byte: what follows the head is not this function's.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    if is_success(&head) { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

/// Has each connection carried, so many at a time; more wait. Ends when nothing can be accepted any more.
pub async fn each<F>(listener: TcpListener, connections: usize, carry: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(connections));
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let carried = carry(stream);
                tokio::spawn(async move {
                    // Whoever was refused sees the connection end; the gateway has written down why.
                    carried.await.ok();
                    drop(place);
                });
            }
            Err(_) => sleep(ACCEPT_BACKOFF).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway that gives this answer to one request and then says what it gets back.
    async fn gateway(answer: &'static str) -> Gateway {
        let (gateway, listener) = crate::gateway::testing::gateway().await;
        tokio::spawn(async move {
            let mut stream = listener.accept().await;
            let mut request = vec![0; 512];
            let length = stream.read(&mut request).await.unwrap();
            assert_eq!(&request[..length], b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        });
        gateway
    }

    async fn open(answer: &'static str) -> io::Result<TcpStream> {
        Route { gateway: gateway(answer).await, host: "a.example".into(), port: 443 }.open().await
    }

    #[tokio::test]
    async fn a_connection_is_the_hosts_once_the_gateway_allows_it() {
        let mut stream = open("HTTP/1.1 200 OK\r\ndate: now\r\n\r\nfirst").await.unwrap();
        stream.write_all(b" second").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "first second");
        let refused = open("HTTP/1.1 403 Forbidden\r\n\r\nws: no").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
