//! Bytes that a workspace sends to the gateway as no well-behaved client does.

use std::{fmt, ops::Deref};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::ws::Ws;

const SCRIPT: &str = include_str!("raw.py");
/// The header by which the gateway says that a refusal is its own, as it stands before the reason.
const REFUSAL: &str = "x-ws-denied: ";
/// The header by which a host outside says what it is, which the gateway does not.
const HOSTS_OWN: &str = "\r\nserver: ";
/// First byte of an alert (RFC 8446 §5.1).
const ALERT: char = '\u{15}';

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
    /// With a NUL at the end of the name.
    EndsInNul,
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

/// What became of a vector: what was answered, as far as it matters, and nothing if it broke off.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    text: String,
    /// How often the vector was sent: again if nothing was answered.
    sent: usize,
    /// Whether the gateway ended the connection.
    #[serde(rename = "closed")]
    pub is_closed: bool,
    /// Whether it went through a tunnel.
    #[serde(skip)]
    is_tunnelled: bool,
}

/// It is read as what was answered.
impl Deref for Answer {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Answer {
    /// The status of the first response.
    pub fn status(&self) -> Option<u16> {
        self.statuses().next()
    }

    /// The statuses of all responses.
    pub fn statuses(&self) -> impl Iterator<Item = u16> {
        self.responses().filter_map(status)
    }

    /// Reasons of the refusals that the gateway has to record, by what it answered. What it could not read has no header: in a tunnel
    /// that is no TLS and no HTTP, elsewhere it is malformed.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        let unread = if self.is_tunnelled { "not-tls" } else { "malformed" };
        let alert = self.text.starts_with(ALERT).then_some(unread);
        let refused = self.responses().filter_map(move |response| {
            if let Some((_, reason)) = response.split_once(REFUSAL) {
                return reason.lines().next();
            }
            let is_unread = matches!(status(response), Some(400 | 414 | 431));
            (is_unread && !response.contains(HOSTS_OWN)).then_some(unread)
        });
        alert.into_iter().chain(refused)
    }

    /// How often it was sent without it being said what was made of it.
    pub fn unsaid(&self) -> usize {
        let is_said = self.text.starts_with(ALERT) || self.responses().next().is_some();
        self.sent - usize::from(is_said)
    }

    fn responses(&self) -> impl Iterator<Item = &str> {
        self.text.split("HTTP/1.").skip(1)
    }
}

/// Of a response without the beginning of its first line.
fn status(response: &str) -> Option<u16> {
    response.split(' ').nth(1)?.parse().ok()
}

/// What became of each of them.
pub async fn answers(ws: &Ws, name: &str, vectors: &[Vector]) -> Result<Vec<Answer>> {
    let arguments = ["attach", name, "--", "python3", "-c", SCRIPT];
    let output = ws.run_with_input(serde_json::to_vec(vectors)?, &arguments).await?.ok()?;
    let answers: Vec<Answer> = serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
    ensure!(answers.len() == vectors.len(), "{output}");
    let tunnelled = vectors.iter().map(|vector| vector.tunnel.is_some());
    Ok(answers
        .into_iter()
        .zip(tunnelled)
        .map(|(answer, is_tunnelled)| Answer { is_tunnelled, ..answer })
        .collect())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_follows_from_what_is_answered() {
        let denied = "HTTP/1.1 403 Forbidden\r\nx-ws-denied: ip-literal\r\nconnection: close\r\n\r\nws: no\n";
        let unread = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let page = "HTTP/1.1 404 Not Found\r\nserver: nginx\r\n\r\n";
        let answer = |text: &str, sent, is_tunnelled| Answer {
            text: text.to_owned(),
            sent,
            is_closed: true,
            is_tunnelled,
        };
        for (text, sent, is_tunnelled, reasons, unsaid) in [
            (denied.to_owned(), 1, false, &["ip-literal"][..], 0),
            (unread.to_owned(), 1, false, &["malformed"], 0),
            (unread.to_owned(), 2, true, &["not-tls"], 1),
            (format!("{page}{denied}"), 1, true, &["ip-literal"], 0),
            (page.replace("404", "400"), 1, true, &[], 0),
            ("\u{15}\u{3}\u{3}".to_owned(), 1, true, &["not-tls"], 0),
            (String::new(), 3, true, &[], 3),
        ] {
            let answer = answer(&text, sent, is_tunnelled);
            assert_eq!(answer.reasons().collect::<Vec<_>>(), reasons, "{text}");
            assert_eq!(answer.unsaid(), unsaid, "{text}");
        }
        assert_eq!(answer(&format!("{page}{denied}"), 1, true).statuses().collect::<Vec<_>>(), [404, 403]);
    }
}
