//! The servers of the networks behind the node: they take everything, answer little and write down every byte.
//!
//! Tests search the log for canaries: a byte that is not in it did not arrive anywhere. One JSON object a line, each
//! with the whole content of one read; the content of a connection is its `data` lines of one `connection`, joined.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

const HTTP_PORT: u16 = 80;
const TCP_SINKS: [u16; 9] = [22, 25, 53, 443, 853, 3478, 8000, 8080, 8443];
const UDP_SINKS: [u16; 5] = [53, 123, 443, 3478, 51820];

/// Connections at one port at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 256;
/// What one connection may send before it is closed.
const CONNECTION_BYTES: usize = 1 << 20;
/// How long a connection may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// The largest piece of a connection, and the largest UDP payload there is.
const PIECE: usize = 65_536;

/// What to serve.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of this network in the log
    #[arg(long)]
    place: String,
    /// File to append to
    #[arg(long)]
    log: PathBuf,
    /// Address to serve on
    #[arg(long, required = true)]
    address: Vec<IpAddr>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Tcp,
    Udp,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Open,
    Data,
    Close,
}

/// One line of the log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    /// Milliseconds since 1970.
    at: u128,
    place: &'a str,
    protocol: Protocol,
    event: Event,
    local: SocketAddr,
    peer: SocketAddr,
    /// Counts the connections and datagrams of one place.
    connection: u64,
    /// The bytes that arrived.
    #[serde(skip_serializing_if = "String::is_empty")]
    hex: String,
}

/// Where records go, and the number of the next connection.
#[derive(Debug)]
struct Log {
    place: String,
    file: File,
    connections: AtomicU64,
}

impl Log {
    fn open(place: String, path: &Path) -> Result<Self> {
        let file =
            File::options().create(true).append(true).open(path).context("opening the log of the sinks")?;
        Ok(Self { place, file, connections: AtomicU64::new(0) })
    }

    /// Appends a record with one write, so that the processes which share the file don't mix their lines.
    fn write(&self, origin: Origin, event: Event, bytes: &[u8]) -> Result<()> {
        let Origin { protocol, local, peer, connection } = origin;
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let hex = hex(bytes);
        let record = Record { at, place: &self.place, protocol, event, local, peer, connection, hex };
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        (&self.file).write_all(&line).context("writing the log of the sinks")
    }

    fn origin(&self, protocol: Protocol, local: SocketAddr, peer: SocketAddr) -> Origin {
        Origin { protocol, local, peer, connection: self.connections.fetch_add(1, Ordering::Relaxed) }
    }
}

/// Where bytes came from and where they went.
#[derive(Debug, Clone, Copy)]
struct Origin {
    protocol: Protocol,
    local: SocketAddr,
    peer: SocketAddr,
    connection: u64,
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Serves until the process is killed.
pub async fn run(args: Args) -> Result<()> {
    let Args { place, log, address } = args;
    let log = Arc::new(Log::open(place, &log)?);
    let mut servers = JoinSet::new();
    for ip in address {
        for port in TCP_SINKS.into_iter().chain([HTTP_PORT]) {
            let listener =
                TcpListener::bind((ip, port)).await.with_context(|| format!("binding TCP {ip}:{port}"))?;
            servers.spawn(accept(listener, port == HTTP_PORT, Arc::clone(&log)));
        }
        for port in UDP_SINKS {
            let socket =
                UdpSocket::bind((ip, port)).await.with_context(|| format!("binding UDP {ip}:{port}"))?;
            servers.spawn(receive(socket, Arc::clone(&log)));
        }
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn accept(listener: TcpListener, http: bool, log: Arc<Log>) -> Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        // A connection that is gone before it was accepted is none.
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let log = Arc::clone(&log);
        connections.spawn(async move {
            let ended = serve(stream, peer, http, &log).await;
            drop(place);
            ended
        });
        while let Some(ended) = connections.try_join_next() {
            ended??;
        }
    }
}

/// Takes a connection's bytes to their end. Only a log that cannot be written is an error.
async fn serve(mut stream: TcpStream, peer: SocketAddr, http: bool, log: &Log) -> Result<()> {
    let Ok(local) = stream.local_addr() else { return Ok(()) };
    let origin = log.origin(Protocol::Tcp, local, peer);
    log.write(origin, Event::Open, &[])?;
    let mut piece = vec![0; PIECE];
    let (mut head, mut total) = (Vec::new(), 0);
    let mut answered = !http;
    while total < CONNECTION_BYTES {
        let Ok(Ok(length @ 1..)) = timeout(SILENCE, stream.read(&mut piece)).await else { break };
        let bytes = piece.get(..length).unwrap_or_default();
        log.write(origin, Event::Data, bytes)?;
        total += length;
        if !answered {
            head.extend_from_slice(bytes);
            answered = head.windows(4).any(|end| end == b"\r\n\r\n");
            if answered && stream.write_all(answer(&log.place).as_bytes()).await.is_err() {
                break;
            }
        }
    }
    log.write(origin, Event::Close, &[])
}

fn answer(place: &str) -> String {
    let body = format!("ws-lab {place}\n");
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn receive(socket: UdpSocket, log: Arc<Log>) -> Result<()> {
    let local = socket.local_addr().context("naming a socket")?;
    let mut datagram = vec![0; PIECE];
    loop {
        let (length, peer) = socket.recv_from(&mut datagram).await.context("receiving")?;
        let origin = log.origin(Protocol::Udp, local, peer);
        log.write(origin, Event::Data, datagram.get(..length).unwrap_or_default())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_byte_is_written_down_and_http_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sinks.jsonl");
        let log = Arc::new(Log::open("internet".to_owned(), &path).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(accept(listener, true, Arc::clone(&log)));

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\ncanary").await.unwrap();
        client.shutdown().await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("ws-lab internet\n"), "{text}");

        server.abort();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.contains(&hex(b"canary")), "{written}");
        assert!(written.lines().all(|line| line.contains(r#""place":"internet""#)), "{written}");
    }
}
