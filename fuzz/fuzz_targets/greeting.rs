//! What a connection to the gateway begins with: only what the host's key signed for this pod shows that its agent is talking, and
//! what follows is untouched.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};
use ws_api::gateway::TOKEN_MARK;
use ws_ssh::token::{LENGTH, Token};

#[path = "../../operator/gateway/src/proxy/greeting.rs"]
mod greeting;

const POD: &str = "5f1c7a52-8a3c-4a0e-9a75-0b7d2f1f3c11";
const OTHER_POD: &str = "5f1c7a52-8a3c-4a0e-9a75-0b7d2f1f3c12";
/// More is HTTP, and read by others.
const LONGEST: usize = 4 << 10;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_io().build().expect("a runtime"));
static LISTENER: LazyLock<TcpListener> =
    LazyLock::new(|| RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port"));
static HOST_KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32])));

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let listener = &*LISTENER;
    let (read, rest) = RUNTIME.block_on(greeted(listener, bytes));
    match (bytes, read) {
        ([], read) => assert!(read.is_none(), "nobody is there"),
        ([TOKEN_MARK, after @ ..], None) => assert!(after.len() < LENGTH),
        ([TOKEN_MARK, after @ ..], Some(token)) => {
            let (written, after) = after.split_at(LENGTH);
            let token = token.expect("it begins with the mark");
            assert_eq!(token.as_bytes().as_slice(), written);
            for pod in [POD, OTHER_POD] {
                let own = Token::sign(&HOST_KEY, pod).expect("it can be signed");
                let is_own = own.as_bytes().as_slice() == written;
                assert_eq!(token.is_of(HOST_KEY.public_key(), pod), is_own);
            }
            assert_eq!(rest, after);
        }
        (_, read) => {
            assert!(read.expect("HTTP can begin so").is_none());
            assert_eq!(rest, bytes);
        }
    }
});

/// What a connection that begins with these bytes is taken for, if for anything, and what can be read of it afterwards.
async fn greeted(listener: &TcpListener, bytes: &[u8]) -> (Option<Option<Token>>, Vec<u8>) {
    let address = listener.local_addr().expect("an address");
    let (outside, inside) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut outside, (mut inside, _)) = (outside.expect("a connection"), inside.expect("a connection"));
    outside.write_all(bytes).await.expect("there is room");
    outside.shutdown().await.expect("it is open");
    let read = greeting::token(&mut inside).await.ok();
    let mut rest = Vec::new();
    inside.read_to_end(&mut rest).await.expect("it ends");
    // Or ports would run out, which wait for what may still come.
    outside.set_zero_linger().expect("it is open");
    (read, rest)
}
