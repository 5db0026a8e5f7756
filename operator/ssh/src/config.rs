//! Settings of the two ends. What is chosen here was measured: see the doc comment of each value.

use std::{borrow::Cow, time::Duration};

use russh::{
    MethodKind, MethodSet, Preferred, SshId, cipher, client, compression, kex,
    keys::{Algorithm, PrivateKey},
    server,
};

/// Bytes that a server may send on a channel before the client must have read some. On a link with 50 ms of round trip
/// 16 MiB carry 110 MB/s, where 2 MiB carry 27.
pub const CLIENT_WINDOW: u32 = 16 << 20;
/// Bytes that a client may send on a channel ahead. The way through an API server is long: with 8 MiB it carries 90 MB/s,
/// with 32 MiB 110.
pub const SERVER_WINDOW: u32 = 32 << 20;
/// The largest packet that russh takes.
const MAX_PACKET: u32 = 65_535;

/// Time without a packet after which the client asks for a sign of life: its user waits.
const CLIENT_KEEPALIVE: Duration = Duration::from_secs(15);
/// The same for the server. Some hops keep a connection open whose client is long gone, and a workspace must not count as used
/// for ever by a laptop that was closed.
const SERVER_KEEPALIVE: Duration = Duration::from_mins(2);
/// Signs of life that may stay out.
const KEEPALIVES: usize = 3;

/// The client's settings. The caller pins the host key in its handler.
pub fn client_config() -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-ws")),
        window_size: CLIENT_WINDOW,
        maximum_packet_size: MAX_PACKET,
        preferred: preferred(),
        inactivity_timeout: None,
        keepalive_interval: Some(CLIENT_KEEPALIVE),
        keepalive_max: KEEPALIVES,
        // Without it, delayed acknowledgements cost 40 to 80 ms for each turn of the handshake.
        nodelay: true,
        ..client::Config::default()
    }
}

/// The settings of a server that proves itself with `host_key` and lets in public keys (and so certificates) only.
pub fn server_config(host_key: PrivateKey) -> server::Config {
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-ws")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        keys: vec![host_key],
        window_size: SERVER_WINDOW,
        maximum_packet_size: MAX_PACKET,
        preferred: preferred(),
        // Who does not hold a certificate guesses nothing by trying again, so a refusal need not be slow; and stock clients
        // begin with the method `none`, whose refusal would cost each of them this time.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        // Whether a session is idle is decided by what runs in the workspace, not by what is typed.
        inactivity_timeout: None,
        keepalive_interval: Some(SERVER_KEEPALIVE),
        keepalive_max: KEEPALIVES,
        nodelay: true,
        ..server::Config::default()
    }
}

/// AES-GCM first: with hardware AES it is twice as fast as `ChaCha20`, which russh and OpenSSH both prefer.
fn preferred() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        key: Cow::Borrowed(&[Algorithm::Ed25519]),
        cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}
