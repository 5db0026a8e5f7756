//! Both ends in one process: who is let in, who is taken for the workspace, and what a hostile server may do.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use russh::{
    ChannelId,
    server::{self, Auth, ChannelOpenHandle, Session},
};
use tokio::io::DuplexStream;
use ws_ssh::{certificate::issue, server_config};

use super::*;
use crate::{error::Kind, subsystem};

/// What the server's attempts to open channels ended with.
type Attempts = Arc<Mutex<Vec<(&'static str, bool)>>>;

/// An agent that lets every certificate in and, asked for a session, tries to reach back.
struct Hostile {
    attempts: Attempts,
}

impl server::Handler for Hostile {
    type Error = russh::Error;

    async fn auth_openssh_certificate(&mut self, _: &str, _: &Certificate) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<server::Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        let (handle, attempts) = (session.handle(), Arc::clone(&self.attempts));
        tokio::spawn(async move {
            let forwarded =
                handle.channel_open_forwarded_tcpip("127.0.0.1", 22, "127.0.0.1", 1).await.is_ok();
            let agent = handle.channel_open_agent().await.is_ok();
            let session = handle.channel_open_session().await.is_ok();
            let x11 = handle.channel_open_x11("127.0.0.1", 1).await.is_ok();
            *attempts.lock().unwrap() =
                vec![("forwarded", forwarded), ("agent", agent), ("session", session), ("x11", x11)];
            drop(channel.close().await);
        });
        Ok(())
    }
}

fn key() -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
}

/// A status for `identity` that names this host key.
fn status(identity: &Identity, host_key: &PublicKey) -> Ssh {
    let now = SystemTime::now();
    let valid = now - Duration::from_mins(5)..now + Duration::from_hours(1);
    let certificate = issue(&key(), identity.key().public_key(), "uid", "team/fix", valid).unwrap();
    Ssh { host_key: host_key.to_openssh().unwrap(), certificates: vec![certificate.to_openssh().unwrap()] }
}

/// An agent that knows no subsystem.
struct Ignorant;

impl server::Handler for Ignorant {
    type Error = russh::Error;

    async fn auth_openssh_certificate(&mut self, _: &str, _: &Certificate) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<server::Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}

/// A hostile server with this host key at the other end of the stream.
fn serve(host_key: PrivateKey, attempts: &Attempts) -> DuplexStream {
    serve_with(host_key, Hostile { attempts: Arc::clone(attempts) })
}

fn serve_with<H>(host_key: PrivateKey, handler: H) -> DuplexStream
where
    H: server::Handler<Error = russh::Error> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(
        async move { server::run_stream(Arc::new(server_config(host_key)), far, handler).await?.await },
    );
    near
}

#[tokio::test]
async fn the_pinned_host_key_and_nothing_else_is_the_workspace() {
    let identity = Identity::generate().unwrap();
    let (real, other) = (key(), key());
    let terms = Terms::read(&status(&identity, real.public_key()), &identity).unwrap().unwrap();
    let attempts = Attempts::default();
    let connection = Connection::open(Box::new(serve(real, &attempts)), &identity, &terms).await;
    assert!(connection.is_ok_and(|connection| !connection.is_closed()));

    match Connection::open(Box::new(serve(other, &attempts)), &identity, &terms).await {
        Err(ConnectError::Final(error)) => {
            assert_eq!((error.kind, error.kind.exit_code()), (Kind::Impostor, 76));
        }
        Err(ConnectError::Silent(why)) => panic!("it would be tried again: {why}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn nothing_that_the_server_opens_is_accepted() {
    let identity = Identity::generate().unwrap();
    let host_key = key();
    let terms = Terms::read(&status(&identity, host_key.public_key()), &identity).unwrap().unwrap();
    let attempts = Attempts::default();
    let connection =
        Connection::open(Box::new(serve(host_key, &attempts)), &identity, &terms).await.ok().unwrap();
    let mut channel = connection.session().await.unwrap();
    while channel.wait().await.is_some() {}
    let refused = [("forwarded", false), ("agent", false), ("session", false), ("x11", false)];
    assert_eq!(*attempts.lock().unwrap(), refused);
}

#[tokio::test]
async fn a_subsystem_that_is_refused_is_not_waited_for() {
    let identity = Identity::generate().unwrap();
    let host_key = key();
    let terms = Terms::read(&status(&identity, host_key.public_key()), &identity).unwrap().unwrap();
    let stream = Box::new(serve_with(host_key, Ignorant));
    let connection = Connection::open(stream, &identity, &terms).await.ok().unwrap();
    let (mut reader, _writer) = connection.subsystem("unknown").await.unwrap().split();
    let answer = timeout(Duration::from_secs(10), subsystem::answer(&mut reader, 1)).await;
    assert!(answer.unwrap().unwrap().complaint().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_does_not_hold_the_command() {
    let identity = Identity::generate().unwrap();
    let terms = Terms::read(&status(&identity, key().public_key()), &identity).unwrap().unwrap();
    let (near, _far) = tokio::io::duplex(1 << 16);
    let silent = Connection::open(Box::new(near), &identity, &terms).await;
    assert!(matches!(silent, Err(ConnectError::Silent(_))));
}

#[tokio::test]
async fn a_server_that_talks_nonsense_ends_the_attempt() {
    use tokio::io::AsyncWriteExt as _;

    let identity = Identity::generate().unwrap();
    let terms = Terms::read(&status(&identity, key().public_key()), &identity).unwrap().unwrap();
    let floods: [&[u8]; 4] = [
        &[0xff; 1 << 12],
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\x00",
        b"SSH-1.5-old\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ];
    for flood in floods {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        far.write_all(flood).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(Connection::open(Box::new(near), &identity, &terms).await.is_err());
    }
}

#[test]
fn a_status_for_another_key_is_not_for_us() {
    let (ours, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let status = status(&other, key().public_key());
    assert!(Terms::read(&status, &ours).unwrap().is_none());
    assert!(Terms::read(&status, &other).unwrap().is_some());
    assert!(Terms::read(&Ssh::default(), &ours).is_err(), "its host key is none");
}
