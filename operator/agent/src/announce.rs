//! Tells the gateway that the pod is isolated: one request (RFC 9112), written and read by hand and bounded.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};
use ws_api::gateway::{ISOLATED_PATH, Isolated};

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bounds of the pause after a failed attempt; it doubles with each.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// As much of the answer's first line as is read; the rest says nothing more.
const MAX_LINE: u64 = 1_024;

/// Posts `statement` until the gateway has taken it.
pub async fn announce(gateway: SocketAddr, statement: &Isolated) {
    let mut pause = PAUSE.0;
    loop {
        match timeout(PATIENCE, post(gateway, statement)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the gateway did not take the proof"),
            Err(_) => tracing::warn!("the gateway did not answer"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn post(gateway: SocketAddr, statement: &Isolated) -> io::Result<()> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(request(gateway, statement)?.as_bytes()).await?;
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut line).await?;
    if is_success(&line) {
        return Ok(());
    }
    Err(io::Error::other(format!("it answered {}", line.trim_ascii().escape_ascii())))
}

fn request(gateway: SocketAddr, statement: &Isolated) -> io::Result<String> {
    let body = serde_json::to_string(statement)?;
    let length = body.len();
    Ok(format!(
        "POST {ISOLATED_PATH} HTTP/1.1\r\nHost: {gateway}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

/// Whether an answer's status is 2xx.
fn is_success(answer: &[u8]) -> bool {
    matches!(
        answer,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', b'2', b'0'..=b'9', b'0'..=b'9', ..]
    )
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_request_is_http() {
        let statement = Isolated { attempts: 120, after_ms: 71 };
        assert_eq!(
            request("10.96.0.7:3128".parse().unwrap(), &statement).unwrap(),
            "POST /v1/isolated HTTP/1.1\r\nHost: 10.96.0.7:3128\r\nContent-Type: application/json\r\n\
             Content-Length: 29\r\nConnection: close\r\n\r\n{\"attempts\":120,\"afterMs\":71}"
        );
    }

    #[test]
    fn only_a_2xx_answer_is_success() {
        for (answer, success) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\n", true),
            ("HTTP/1.1 403 Forbidden\r\n", false),
            ("HTTP/1.1 2", false),
            ("", false),
        ] {
            assert_eq!(is_success(answer.as_bytes()), success, "{answer}");
        }
    }

    #[tokio::test]
    async fn it_is_repeated_until_the_gateway_takes_it() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gateway.local_addr().unwrap();
        let answers = async {
            for status in ["503 Busy", "204 No Content"] {
                let (mut stream, _) = gateway.accept().await.unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"POST /v1/isolated "));
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
            }
        };
        tokio::join!(announce(address, &Isolated { attempts: 1, after_ms: 1 }), answers);
    }
}
