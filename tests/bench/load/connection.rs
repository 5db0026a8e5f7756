//! One connection: to the host itself, or through a proxy.

use std::{fs, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use http_body_util::BodyExt as _;
use hyper::{
    Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;

use super::{Ask, HTTP_PORT, HTTPS_PORT, Job, Way, body::Zeros, source};

/// Longest answer to a CONNECT.
const MAX_HEAD: usize = 4 << 10;

/// Bytes that each source begins with, if any does.
const GREETING: usize = 1 + ws_ssh::token::LENGTH;

/// Opens connections.
pub(super) struct Connector {
    to: SocketAddr,
    way: Way,
    host: String,
    tls: Option<TlsConnector>,
    greetings: Vec<u8>,
}

/// An open connection.
pub(super) struct Open(SendRequest<Zeros>);

impl Connector {
    pub(super) fn new(job: &Job) -> Result<Self> {
        let Job { to, way, host, .. } = job.clone();
        let greetings = job.greetings.as_ref().map_or_else(|| Ok(Vec::new()), fs::read)?;
        let Some(authority) = &job.authority else {
            return Ok(Self { to, way, host, tls: None, greetings });
        };
        let mut roots = RootCertStore::empty();
        let problem = || authority.display().to_string();
        for certificate in CertificateDer::pem_file_iter(authority).with_context(problem)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { to, way, host, tls: Some(Arc::new(config).into()), greetings })
    }

    /// Opens one from the address with this number.
    pub(super) async fn open(&self, number: usize) -> Result<Open> {
        let (socket, source) = (TcpSocket::new_v4()?, source(number));
        socket
            .bind(SocketAddr::new(source.into(), 0))
            .with_context(|| format!("{source} is none of this machine's"))?;
        let mut stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        if let Some(greeting) = self.greetings.chunks(GREETING).nth(number) {
            stream.write_all(greeting).await?;
        }
        if self.way == Way::Tunnel {
            let port = if self.tls.is_some() { HTTPS_PORT } else { HTTP_PORT };
            tunnel(&mut stream, &format!("{}:{port}", self.host)).await?;
        }
        match &self.tls {
            Some(tls) => speak(tls.connect(ServerName::try_from(self.host.clone())?, stream).await?).await,
            None => speak(stream).await,
        }
    }
}

/// Asks a proxy for a connection to the host.
async fn tunnel(stream: &mut TcpStream, host: &str) -> Result<()> {
    stream.write_all(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    // A server says nothing before its client does, so what comes is the answer's head and no more.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < MAX_HEAD && stream.read_buf(&mut head).await? > 0, "no answer to CONNECT");
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    ensure!(line.get(8..12) == Some(b" 200"), "CONNECT was answered `{}`", String::from_utf8_lossy(line));
    Ok(())
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Open> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // How it ends, the request that is under way learns.
    tokio::spawn(connection);
    Ok(Open(sender))
}

impl Open {
    /// Asks for what the job says, and reads the answer to its end.
    pub(super) async fn ask(&mut self, job: &Job, number: usize) -> Result<StatusCode> {
        let (method, path, length) = match job.ask {
            Ask::Small => ("GET", "/small".to_owned(), 0),
            Ask::Download => ("GET", "/large".to_owned(), 0),
            // A file of its own, so that no two connections write the same.
            Ask::Upload(length) => ("PUT", format!("/taken/{number}"), length.into()),
        };
        let port = if job.authority.is_some() { HTTPS_PORT } else { HTTP_PORT };
        let host = format!("{}:{port}", job.host);
        let before = if job.way == Way::Forward { format!("http://{host}") } else { String::new() };
        let request = Request::builder()
            .method(method)
            .uri(before + &path)
            .header(header::HOST, host)
            .body(Zeros(length))?;
        self.0.ready().await?;
        let mut answer = self.0.send_request(request).await?;
        while let Some(frame) = answer.body_mut().frame().await {
            frame?;
        }
        Ok(answer.status())
    }
}
