//! Bytes that a workspace sends to the gateway as no well-behaved client does.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::ws::Ws;

const SCRIPT: &str = include_str!("raw.py");

/// What to send, and through what.
#[derive(Clone, Debug, Serialize)]
pub struct Vector {
    /// `HOST:PORT` of a tunnel.
    tunnel: Option<String>,
    /// With a name: TLS in the tunnel.
    sni: Option<String>,
    hello: Hello,
    hex: String,
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hello {
    Plain,
    /// Without a name.
    Nameless,
    /// In two records, of which each has a half of the name. Servers have to read that.
    Split,
    /// With another host's name after its own.
    Twice,
    /// With its own name twice.
    Again,
    /// With a NUL in the name, and another host's after it.
    Nul,
}

impl Vector {
    /// To the proxy itself.
    pub fn plain(bytes: impl AsRef<[u8]>) -> Self {
        Self { tunnel: None, sni: None, hello: Hello::Plain, hex: hex(bytes.as_ref()) }
    }

    /// Through TLS in a tunnel to the host.
    pub fn within(host: &str, bytes: impl AsRef<[u8]>) -> Self {
        Self { tunnel: Some(format!("{host}:443")), sni: Some(host.to_owned()), ..Self::plain(bytes) }
    }

    /// The same with another name in TLS.
    #[must_use]
    pub fn named(self, sni: &str) -> Self {
        Self { sni: Some(sni.to_owned()), ..self }
    }

    /// The same with another beginning of TLS. Where that is wrong, the answer is what the gateway says to it: no request follows.
    #[must_use]
    pub fn beginning(self, hello: Hello) -> Self {
        Self { hello, ..self }
    }

    /// The same without TLS.
    #[must_use]
    pub fn without_tls(self) -> Self {
        Self { sni: None, ..self }
    }
}

/// What the gateway answers each of them; nothing if it breaks off.
pub async fn answers(ws: &Ws, name: &str, vectors: &[Vector]) -> Result<Vec<String>> {
    let arguments = ["attach", name, "--", "python3", "-c", SCRIPT];
    let output = ws.run_with_input(serde_json::to_vec(vectors)?, &arguments).await?.ok()?;
    serde_json::from_str(&output.stdout).with_context(|| output.to_string())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
