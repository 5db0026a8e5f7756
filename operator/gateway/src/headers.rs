//! Which headers pass. Outwards only those that a rule names, so that a workspace's own credentials, cookies and whatever a
//! client knows stay behind; inwards all but those of the connection itself. Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_ENCODING, ALT_SVC, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, PROXY_AUTHENTICATE, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};
use ws_policy::{
    class::{Allowance, HeaderRule},
    preset::PLACEHOLDER,
};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("ws-gateway/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ENCODINGS: &[&str] = &["br", "deflate", "gzip", "identity", "zstd"];
/// Of the connection to the host (RFC 9110 §7.6.1), or of another way to it than through the gateway.
static OF_THE_CONNECTION: [HeaderName; 9] = [
    ALT_SVC,
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Of what the host says is of the connection, so much is heeded. An honest one names one or two.
const NOMINATED: usize = 32;

/// What goes out with a request.
///
/// With a credential, the answer is asked for without an encoding, so that the credential is seen if it comes back.
pub fn outward(
    allowance: &Allowance,
    credential: Option<(HeaderName, HeaderValue)>,
    written: &HeaderMap,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for rule in &allowance.headers {
        if let Some(value) = passed(rule, written).filter(|value| !shows_placeholder(value)) {
            headers.insert(rule.name.clone(), value);
        }
    }
    headers.insert(USER_AGENT, AGENT);
    if let Some(body) = &allowance.body {
        if body.is_json() {
            headers.insert(CONTENT_TYPE, JSON);
        } else {
            for name in [CONTENT_TYPE, CONTENT_ENCODING] {
                headers.extend(written.get(&name).map(|value| (name, value.clone())));
            }
        }
    }
    match credential {
        Some((name, value)) => drop(headers.insert(name, value)),
        None => headers.extend(encodings(written).map(|value| (ACCEPT_ENCODING, value))),
    }
    headers
}

/// What comes back with an answer.
pub fn inward(headers: &mut HeaderMap) {
    for name in nominated(headers) {
        headers.remove(name);
    }
    for name in &OF_THE_CONNECTION {
        headers.remove(name);
    }
}

/// What a host says is of the connection alone.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    // Also beside something that is no text: whoever reads the rest of it would find them.
    let values = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let names = values.flat_map(|value| value.split(|byte| *byte == b',')).take(NOMINATED);
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// The values of a header that a rule lets pass, as one.
fn passed(rule: &HeaderRule, written: &HeaderMap) -> Option<HeaderValue> {
    let mut values = written.get_all(&rule.name).iter();
    if rule.values.is_empty() {
        let first = values.next()?.clone();
        // What is there twice means one thing to one server and another to the next.
        return values.next().is_none().then_some(first);
    }
    let elements = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let allowed: Vec<&str> =
        elements.map(str::trim).filter(|element| rule.values.iter().any(|value| value == element)).collect();
    if allowed.is_empty() { None } else { HeaderValue::from_str(&allowed.join(", ")).ok() }
}

/// Whether a workspace's placeholder for a credential is in it: what reads its environment sends that where it takes the credential to
/// belong, and to no host does it belong.
fn shows_placeholder(value: &HeaderValue) -> bool {
    let placeholder = PLACEHOLDER.as_bytes();
    value.as_bytes().windows(placeholder.len()).any(|window| window == placeholder)
}

/// The encodings that a client takes, of those that everybody knows and without their weights.
fn encodings(written: &HeaderMap) -> Option<HeaderValue> {
    let elements = written.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let elements = elements.flat_map(|value| value.split(',')).map(str::trim);
    let known: Vec<&str> =
        elements.filter_map(|element| ENCODINGS.iter().find(|known| **known == element).copied()).collect();
    if known.is_empty() { None } else { HeaderValue::from_str(&known.join(", ")).ok() }
}

#[cfg(test)]
mod tests;
