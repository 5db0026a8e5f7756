//! Carries connections that programs make to a name's address on the loopback to the gateway, which decides on them as on any
//! other: a tunnel (RFC 9110 §9.3.6) to the name.

use std::{collections::HashSet, io, net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use ws_api::gateway::{AGENT_CONNECTIONS, MAX_CONNECTIONS};

use crate::{
    accept,
    gateway::{Gateway, is_success},
};

/// How long the gateway may take to decide.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest head of the gateway's answer.
const MAX_HEAD: usize = 4 << 10;

/// Places for the connections of all programs to the gateway, whichever way they go. What it takes of the pod beyond them is the agent's.
pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_CONNECTIONS - AGENT_CONNECTIONS))
}

/// The routes on which programs are waited for.
#[derive(Debug)]
pub struct Routes {
    gateway: Gateway,
    places: Arc<Semaphore>,
    open: HashSet<(Ipv4Addr, u16)>,
    /// Those that could not be opened when they first were to be, which was said then.
    refused: HashSet<(Ipv4Addr, u16)>,
}

impl Routes {
    pub fn new(gateway: Gateway, places: Arc<Semaphore>) -> Self {
        Self { gateway, places, open: HashSet::new(), refused: HashSet::new() }
    }

    /// Carries whatever connects to `address` at the host's port from now on. To be called again if that was not possible: a server
    /// of the project's may have the port, on all addresses, and give it back.
    pub async fn open(&mut self, host: &Arc<str>, address: Ipv4Addr, port: u16) {
        let end = (address, port);
        if self.open.contains(&end) {
            return;
        }
        match TcpListener::bind(end).await {
            Ok(listener) => {
                self.open.insert(end);
                let route = Route { gateway: self.gateway, host: Arc::clone(host), port };
                tokio::spawn(route.serve(listener, Arc::clone(&self.places)));
            }
            Err(error) => {
                if self.refused.insert(end) {
                    tracing::warn!(%error, %host, port, "cannot listen for connections to a name; it is tried again");
                }
            }
        }
    }
}

/// A name and a port of it, and the gateway that leads there.
#[derive(Clone, Debug)]
pub struct Route {
    pub gateway: Gateway,
    pub host: Arc<str>,
    pub port: u16,
}

impl Route {
    async fn serve(self, listener: TcpListener, places: Arc<Semaphore>) {
        accept::each(listener, places, |stream| self.clone().carry(stream)).await;
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

    /// A port that nobody uses.
    async fn port() -> u16 {
        TcpListener::bind("0.0.0.0:0").await.unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn b25_however_programs_go_they_leave_the_agent_its_connections() {
        let (gateway, listener) = crate::gateway::testing::gateway().await;
        let (addresses, port) = ([[127, 64, 0, 1], [127, 64, 0, 2]].map(Ipv4Addr::from), port().await);
        let places = places();
        let mut routes = Routes::new(gateway, places.clone());
        for address in addresses {
            routes.open(&"a.example".into(), address, port).await;
        }
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ends = addresses.map(|address| (address, port).into()).to_vec();
        ends.push(relay.local_addr().unwrap());
        tokio::spawn(crate::relay::serve(relay, gateway, places));
        let mut programs = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            for end in &ends {
                programs.push(TcpStream::connect(end).await.unwrap());
            }
        }
        let mut carried = Vec::new();
        for _ in 0..MAX_CONNECTIONS - AGENT_CONNECTIONS {
            carried.push(listener.accept().await);
        }
        let more = timeout(Duration::from_millis(300), listener.accept()).await;
        assert!(more.is_err(), "there are more of them than the programs may have");
        // Those that end make room for those that wait.
        drop((carried, programs));
        timeout(PATIENCE, listener.accept()).await.expect("a place is free");
    }

    #[tokio::test]
    async fn a_port_that_the_project_uses_is_listened_on_once_it_is_free() {
        let (gateway, listener) = crate::gateway::testing::gateway().await;
        let server = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (address, port) = (Ipv4Addr::new(127, 64, 0, 1), server.local_addr().unwrap().port());
        let mut routes = Routes::new(gateway, places());
        for _ in 0..2 {
            routes.open(&"a.example".into(), address, port).await;
            assert_eq!((routes.open.len(), routes.refused.len()), (0, 1));
        }
        drop(server);
        for _ in 0..2 {
            routes.open(&"a.example".into(), address, port).await;
            assert_eq!(routes.open.len(), 1);
        }
        let _program = TcpStream::connect((address, port)).await.unwrap();
        let mut request = vec![0; 512];
        let length = listener.accept().await.read(&mut request).await.unwrap();
        let expected = format!("CONNECT a.example:{port} ");
        assert!(request[..length].starts_with(expected.as_bytes()), "{}", request.escape_ascii());
    }
}
