//! Names in TLS (B03), and encrypted ones (B06, RFC 9849): whatever a client says or hides there, the gateway decides by the name of the
//! tunnel, and to show another one to a host behind it is impossible.

use rustls::{
    ClientConfig, RootCertStore,
    client::{EchConfig, EchGreaseConfig, EchMode},
    crypto::aws_lc_rs::{default_provider, hpke::DH_KEM_X25519_HKDF_SHA256_AES_128},
    pki_types::{CertificateDer, EchConfigListBytes, ServerName, pem::PemObject as _},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{passing::HELLO, *};

const SUITE: &dyn rustls::crypto::hpke::Hpke = DH_KEM_X25519_HKDF_SHA256_AES_128;

/// A list of configurations with one: the key is this one, and what is seen from outside is a handshake with `public_name`
/// (RFC 9849 §4).
fn list(public_key: &[u8], public_name: &str) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let contents = [
        // Config 7; DHKEM(X25519, HKDF-SHA256).
        &[7, 0, 0x20][..],
        &with_length(public_key),
        // HKDF-SHA256 with AES-128-GCM.
        &with_length(&[0, 1, 0, 1]),
        // The longest name, the name, no extensions.
        &[64, u8::try_from(public_name.len()).unwrap()],
        public_name.as_bytes(),
        &[0, 0],
    ]
    .concat();
    with_length(&[&[0xfe, 0x0d][..], &with_length(&contents)].concat())
}

impl Gateway {
    /// A handshake for `name` in a tunnel to the service `host`.
    async fn handshake(
        &self,
        host: &str,
        name: &str,
        mode: EchMode,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = self.proxy.authority.certificate();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_ech(mode)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(name.to_owned()).unwrap(), self.tunnel(host).await)
            .await
    }
}

#[tokio::test]
async fn b06_a_name_that_is_encrypted_leads_nowhere_else() {
    let (gateway, server) = (gateway().await, passing::server(HELLO).await);
    let allow = json!({"methods": ["GET"], "paths": ["/"]});
    gateway.judge.send_replace(policies_with(&json!([passing::rule(&server, &allow)])));
    let name = "ollama.models.svc";
    let host = format!("{name}:{}", server.port);
    let (public_key, _) = SUITE.generate_key_pair().unwrap();

    // What many clients send so that those who mean it do not stand out (RFC 9849 §6.2).
    let grease = EchMode::Grease(EchGreaseConfig::new(SUITE, public_key.clone()));
    let mut stream = gateway.handshake(&host, name, grease).await.unwrap();
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.contains("x-ws-denied: scheme-not-allowed"),
        "TLS is ended, and the request decided on: {answer}"
    );

    let list = list(&public_key.0, name);
    let hidden = EchConfig::new(EchConfigListBytes::from(list), &[SUITE]).unwrap();
    let error = gateway.handshake(&host, "hidden.example", hidden.into()).await.unwrap_err();
    assert!(error.to_string().contains("EncryptedClientHello"), "{error}");
    assert_eq!(server.got.text(), "", "nothing arrives");
}

#[tokio::test]
async fn b03_the_name_in_tls_is_the_tunnels() {
    let gateway = gateway().await;
    let hosts = ["docs.example", "api.example"];
    let rule = json!({"name": "both", "hosts": hosts, "allow": [{"methods": ["GET"], "paths": ["/"]}]});
    gateway.judge.send_replace(policies_with(&json!([rule])));
    for (named, denied) in [("docs.example", "special-address"), ("api.example", "misdirected")] {
        // The tunnel's host, and the request's; only TLS may be told another name.
        let (url, to) = (format!("https://{named}/"), format!("{named}:443:docs.example:443"));
        let asked = ["-k", "-i", &url, "--connect-to", &to, "-H", "Host: docs.example"];
        let (printed, _) = gateway.curl(&asked).await;
        assert!(printed.contains(&format!("x-ws-denied: {denied}")), "{named}: {printed}");
    }
}
