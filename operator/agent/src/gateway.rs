//! What the agent says to the gateway and asks of it: one request a connection (RFC 9112), written and read by hand and bounded.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use ws_api::gateway::{ISOLATED_PATH, Isolated, TOKEN_MARK, WAY_OUT_PATH, WayOut};
use ws_ssh::token::Token;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bounds of the pause after a failed attempt; it doubles with each.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Longest answer, in bytes.
const MAX_ANSWER: u64 = 4 << 20;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The gateway's proxy port, and by what it knows the agent.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    pub address: SocketAddr,
    pub token: Token,
}

impl Gateway {
    /// A connection that is known to be the agent's. What is sent on it is HTTP.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut greeting = vec![TOKEN_MARK];
        greeting.extend(self.token.as_bytes());
        stream.write_all(&greeting).await?;
        Ok(stream)
    }
}

/// Posts `statement` until the gateway has taken it.
pub async fn announce(gateway: &Gateway, statement: &Isolated) -> io::Result<()> {
    let body = serde_json::to_string(statement)?;
    until_answered(gateway, &request(gateway.address, "POST", ISOLATED_PATH, &body)).await;
    Ok(())
}

/// Asks for the way out until the gateway tells it.
pub async fn way_out(gateway: &Gateway) -> io::Result<WayOut> {
    let body = until_answered(gateway, &request(gateway.address, "GET", WAY_OUT_PATH, "")).await;
    Ok(serde_json::from_slice(&body)?)
}

/// The body of the gateway's answer, once it is one of success.
async fn until_answered(gateway: &Gateway, request: &str) -> Vec<u8> {
    let mut pause = PAUSE.0;
    loop {
        match timeout(PATIENCE, ask(gateway, request)).await {
            Ok(Ok(body)) => return body,
            Ok(Err(error)) => tracing::warn!(%error, "the gateway did not take a request of the agent"),
            Err(_) => tracing::warn!("the gateway did not answer"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn ask(gateway: &Gateway, request: &str) -> io::Result<Vec<u8>> {
    let mut stream = gateway.connect().await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    body_of(answer)
}

/// The body of an answer, if it is one of success.
pub fn body_of(mut answer: Vec<u8>) -> io::Result<Vec<u8>> {
    let end = answer.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD);
    let Some(end) = end.filter(|_| is_success(&answer)) else {
        let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return Err(io::Error::other(format!("it answered {}", line.trim_ascii().escape_ascii())));
    };
    Ok(answer.split_off(end + END_OF_HEAD.len()))
}

/// A request after whose answer the gateway closes, so that the answer's end is the connection's.
fn request(gateway: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {gateway}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Whether an answer's status is 2xx.
pub fn is_success(answer: &[u8]) -> bool {
    matches!(
        answer,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', b'2', b'0'..=b'9', b'0'..=b'9', ..]
    )
}

/// What tests need that play the gateway.
#[cfg(test)]
pub(crate) mod testing {
    use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
    use tokio::net::TcpListener;
    use ws_ssh::token;

    use super::*;

    pub struct Listener(TcpListener);

    /// A gateway, and where connections to it arrive.
    pub async fn gateway() -> (Gateway, Listener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
        let token = Token::sign(&key, "pod").unwrap();
        (Gateway { address: listener.local_addr().unwrap(), token }, Listener(listener))
    }

    impl Listener {
        /// The next connection, after what shows that it is the agent's.
        pub async fn accept(&self) -> TcpStream {
            let (mut stream, _) = self.0.accept().await.unwrap();
            let mut greeting = [0; 1 + token::LENGTH];
            stream.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting[0], TOKEN_MARK);
            stream
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::gateway, *};

    #[test]
    fn the_request_is_http() {
        assert_eq!(
            request("10.96.0.7:3128".parse().unwrap(), "POST", "/v1/isolated", "{}"),
            "POST /v1/isolated HTTP/1.1\r\nHost: 10.96.0.7:3128\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{}"
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
        let (gateway, listener) = gateway().await;
        let answers = async {
            for status in ["503 Busy", "204 No Content"] {
                let mut stream = listener.accept().await;
                let mut request = [0; 512];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"POST /v1/isolated "));
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.unwrap();
            }
        };
        let statement = Isolated { attempts: 1, after_ms: 1 };
        let (announced, ()) = tokio::join!(announce(&gateway, &statement), answers);
        announced.unwrap();
    }

    #[tokio::test]
    async fn the_way_out_is_what_the_gateway_says() {
        let (gateway, listener) = gateway().await;
        let said = WayOut { certificate: "PEM".into(), ..WayOut::default() };
        let answer = async {
            let mut stream = listener.accept().await;
            let mut request = [0; 512];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /v1/way-out "));
            let json = serde_json::to_string(&said).unwrap();
            stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{json}").as_bytes()).await.unwrap();
        };
        let (told, ()) = tokio::join!(way_out(&gateway), answer);
        assert_eq!(told.unwrap(), said);
    }
}
