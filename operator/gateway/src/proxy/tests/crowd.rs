//! What workspaces that take all they get leave to others (B25).

use super::{
    passing::{HELLO, Server, rule},
    *,
};
use crate::{
    sessions::{Identity, Observed},
    testing::policies_with,
};

const MIB: usize = 1 << 20;

/// A server that answers a document when it has come whole.
pub async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut got = Vec::new();
                while !got.ends_with(b"\"}") {
                    assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0, "it comes whole");
                }
                stream.write_all(HELLO.as_bytes()).await.unwrap();
            });
        }
    });
    Server { port, got: Shared::default() }
}

/// A rule for documents of any length that can be looked into.
pub fn documents(server: &Server) -> Value {
    let body = json!({"max": "32Mi", "json": {"required": ["model"]}});
    rule(server, &json!({"methods": ["POST"], "paths": ["/"], "body": body}))
}

impl Gateway {
    /// A connection from another workspace's agent.
    async fn neighbour(&self, number: u8) -> TcpStream {
        let pod_uid = format!("pod-{number}");
        let address = IpAddr::from([127, 0, 1, number]);
        let identity = Identity { pod_uid: pod_uid.clone(), ..identity() };
        let observed = Observed { identity, addresses: vec![address], is_ending: false };
        self.index.send_modify(|sessions| sessions.insert(observed));
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let mut stream = socket.connect(self.port).await.unwrap();
        let token = Token::sign(&host_key(), &pod_uid).unwrap();
        stream.write_all(&[&[TOKEN_MARK][..], token.as_bytes()].concat()).await.unwrap();
        stream
    }

    /// Whether a document of so many bytes is answered, before others that wait have gone.
    pub async fn serves(&self, server: &Server, length: usize) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("body.json");
        std::fs::write(&file, format!("{{\"model\": \"{}\"}}", "m".repeat(length))).unwrap();
        let url = format!("http://ollama.models.svc:{}/", server.port);
        let body = format!("@{}", file.display());
        let (printed, _) = self.curl(&["--max-time", "5", "--data-binary", &body, &url]).await;
        printed.starts_with("hello")
    }

    /// Waits until so many bytes of room are left at most.
    async fn filled(&self, left: usize) {
        let filled = async {
            while self.proxy.room.left() > left {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, filled).await.expect("it fills");
    }
}

fn head(server: &Server, length: usize) -> String {
    let host = format!("ollama.models.svc:{}", server.port);
    format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn b25_bodies_that_are_announced_and_do_not_come_are_in_nobodys_way() {
    let (gateway, server) = (gateway().await, server().await);
    gateway.judge.send_replace(policies_with(&json!([documents(&server)])));
    let mut loud = Vec::new();
    for number in 1..=3 {
        let mut stream = gateway.neighbour(number).await;
        stream.write_all(head(&server, 32 * MIB).as_bytes()).await.unwrap();
        stream.write_all(b"{").await.unwrap();
        loud.push(stream);
    }
    gateway.filled(BODIES - 3 * (16 << 10)).await;
    assert_eq!(gateway.proxy.room.left(), BODIES - 3 * (16 << 10), "each has room for what has come");
    assert!(gateway.serves(&server, 3 * MIB).await);
}

#[tokio::test]
async fn b25_bodies_that_come_and_do_not_end_leave_as_much_to_others() {
    let (gateway, server) = (gateway().await, server().await);
    gateway.judge.send_replace(policies_with(&json!([documents(&server)])));
    let loud: Vec<_> = futures::future::join_all((1..=3).map(|number| gateway.neighbour(number))).await;
    let sending: Vec<_> = loud
        .into_iter()
        .map(|mut stream| {
            let head = head(&server, 32 * MIB);
            tokio::spawn(async move {
                stream.write_all(head.as_bytes()).await.unwrap();
                // It is told that there is no room before it has sent all.
                stream.write_all(&vec![b' '; 31 * MIB]).await.ok();
                stream
            })
        })
        .collect();
    gateway.filled(39 * MIB).await;
    assert!(gateway.serves(&server, 3 * MIB).await);
    assert!(gateway.proxy.room.left() >= 28 * MIB, "who comes last gets half of what it leaves");
    sending.iter().for_each(JoinHandle::abort);
}
