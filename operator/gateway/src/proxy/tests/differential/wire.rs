//! A wire between the gateway and a server that keeps what goes over it, and reads it as strictly as it can be read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    net::{TcpListener, TcpStream},
    time::{Duration, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Bytes towards the server, by the port from which they come.
type Passed = Arc<Mutex<HashMap<u16, Vec<u8>>>>;

pub struct Wire {
    pub port: u16,
    passed: Passed,
    connections: TaskTracker,
    end: CancellationToken,
}

/// A server may take this long to close a connection on which no more is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was read and what follows it; none if it is not whole.
type Read<'a, T> = Result<Option<(T, &'a [u8])>, String>;

/// A request as it stands on the wire.
#[derive(Debug)]
pub struct Written {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Wire {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Self {
            port,
            passed: Passed::default(),
            connections: TaskTracker::new(),
            end: CancellationToken::new(),
        };
        let (passed, connections, end) = (wire.passed.clone(), wire.connections.clone(), wire.end.clone());
        tokio::spawn(async move {
            while let Some(Ok((near, _))) = end.run_until_cancelled(listener.accept()).await {
                let far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                connections.spawn(carry(near, far, passed.clone(), end.clone()));
            }
        });
        wire
    }

    /// Says no more to the server, and waits until it has read all that was said: it may still be about to read what
    /// the gateway gave up on.
    pub async fn end(&self) {
        self.end.cancel();
        self.connections.close();
        timeout(PATIENCE, self.connections.wait()).await.expect("the server closes its connections");
    }

    /// The requests of each connection, in order; what of the last is not whole is left out.
    pub fn requests(&self) -> HashMap<u16, Result<Vec<Written>, String>> {
        let passed = self.passed.lock().unwrap();
        passed.iter().map(|(connection, bytes)| (*connection, read(bytes))).collect()
    }
}

async fn carry(near: TcpStream, far: TcpStream, passed: Passed, end: CancellationToken) {
    let port = far.local_addr().unwrap().port();
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    let there = async move {
        let mut bytes = vec![0; 64 << 10];
        while let Some(Ok(length @ 1..)) = end.run_until_cancelled(from_near.read(&mut bytes)).await {
            // Kept before it is passed on, so that nothing is understood that was not kept.
            passed.lock().unwrap().entry(port).or_default().extend(&bytes[..length]);
            if to_far.write_all(&bytes[..length]).await.is_err() {
                break;
            }
        }
    };
    let back = async move {
        copy(&mut from_far, &mut to_near).await.ok();
        // To the server's end, whether or not anybody wants it: it is not to be broken off.
        copy(&mut from_far, &mut sink()).await.ok();
    };
    tokio::join!(there, back);
}

fn read(mut bytes: &[u8]) -> Result<Vec<Written>, String> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        match request(bytes)? {
            Some((request, rest)) => {
                requests.push(request);
                bytes = rest;
            }
            None => break,
        }
    }
    Ok(requests)
}

/// One request and what follows it. Whatever is written otherwise than a careful client would is an error.
fn request(bytes: &[u8]) -> Read<'_, Written> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (String::from_utf8(bytes[..end].to_vec()).unwrap(), &bytes[end + 4..]);
    let error = |what: &str| format!("{what}: {head:?}");
    if head.replace("\r\n", "").contains(|character: char| character.is_control()) {
        return Err(error("a control character"));
    }
    let mut lines = head.split("\r\n");
    let line: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = line[..] else { return Err(error("a request line")) };
    let mut headers = HashMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| error("a header without its value"))?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name || headers.insert(name.to_ascii_lowercase(), value.to_owned()).is_some() {
            return Err(error("a header"));
        }
    }
    let whole = match (headers.get("content-length"), headers.get("transfer-encoding").map(String::as_str)) {
        (None, None) => Some((Vec::new(), body)),
        (Some(length), None) => {
            let length: usize = length.parse().map_err(|_| error("a length"))?;
            body.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest))
        }
        (None, Some("chunked")) => chunks(body).map_err(|what| error(&what))?,
        _ => return Err(error("two lengths")),
    };
    let written = |body| Written { method: method.to_owned(), target: target.to_owned(), headers, body };
    Ok(whole.map(|(body, rest)| (written(body), rest)))
}

fn chunks(mut bytes: &[u8]) -> Read<'_, Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
        let length = usize::from_str_radix(size, 16).map_err(|_| format!("a chunk of size {size:?}"))?;
        let Some((chunk, rest)) = bytes[end + 2..].split_at_checked(length) else { return Ok(None) };
        let Some((end, rest)) = rest.split_at_checked(2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(format!("what follows a chunk: {end:?}"));
        }
        body.extend(chunk);
        bytes = rest;
        if length == 0 {
            return Ok(Some((body, rest)));
        }
    }
}
