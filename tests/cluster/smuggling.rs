//! Red team, group B: requests within requests (B02, B10, B11, B12). Whatever the gateway makes of such bytes, the host sees at most
//! the one request that it decided on.

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{
    probe::canary,
    raw::{Vector, answers},
};

use crate::way_out::with_rules;

const HOST: &str = "docs.example";

/// Bytes that some programs take for one request and others for two, of which the second asks for `hidden`.
fn smuggled(hidden: &str) -> Vec<(&'static str, String)> {
    let second = format!("GET {hidden} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let length = second.len();
    let post = |headers: &str, body: &str| {
        format!("POST /public/form HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n{body}")
    };
    let chunked =
        |coding: &str| post(&format!("{coding}\r\nContent-Length: 4\r\n"), &format!("0\r\n\r\n{second}"));
    vec![
        ("a length and chunks", chunked("Transfer-Encoding: chunked")),
        ("a length and identity", chunked("Transfer-Encoding: identity")),
        ("a coding with a space", chunked("Transfer-Encoding : chunked")),
        ("a coding with a tab", chunked("Transfer-Encoding:\tchunked")),
        ("a coding in capitals", chunked("Transfer-Encoding: CHUNKED")),
        ("two codings", chunked("Transfer-Encoding: gzip, chunked")),
        ("a coding twice", chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
        ("a coding that is none", chunked("Transfer-Encoding: xchunked")),
        ("a coding with a vertical tab", chunked("Transfer-Encoding: \u{b}chunked")),
        ("a folded coding", chunked("Transfer-Encoding:\r\n chunked")),
        ("a coding after a bare line feed", chunked("X: y\nTransfer-Encoding: chunked")),
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), &second)),
        (
            "two lengths, the other first",
            post(&format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), &second),
        ),
        ("a list of lengths", post(&format!("Content-Length: 0, {length}\r\n"), &second)),
        ("a signed length", post("Content-Length: +0\r\n", &second)),
        ("a hexadecimal length", post("Content-Length: 0x0\r\n", &second)),
        ("a negative length", post("Content-Length: -1\r\n", &second)),
        ("a long length", post("Content-Length: 99999999999999999999\r\n", &second)),
        ("no length", post("", &second)),
        (
            "a chunk's size in two readings",
            post("Transfer-Encoding: chunked\r\n", &format!("0x0\r\n\r\n{second}")),
        ),
        (
            "a chunk's size too long",
            post("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n\r\n{second}")),
        ),
        ("a chunk's extension", post("Transfer-Encoding: chunked\r\n", &format!("0;x=\"\r\n\r\n{second}"))),
        ("a chunk after a bare line feed", post("Transfer-Encoding: chunked\r\n", &format!("0\n\n{second}"))),
        (
            "trailers",
            post(
                "Transfer-Encoding: chunked\r\nTrailer: x\r\n",
                &format!("0\r\nHost: hidden.example\r\nAuthorization: mine\r\n\r\n{second}"),
            ),
        ),
        ("an expectation", post(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"), &second)),
        ("an unknown expectation", post(&format!("Expect: x\r\nContent-Length: {length}\r\n"), &second)),
        (
            "an upgrade",
            post(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 0\r\n",
                &second,
            ),
        ),
        (
            "a web socket",
            post(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n",
                &second,
            ),
        ),
        (
            "a request line with more",
            format!("GET /public/x HTTP/1.1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n{second}"),
        ),
        (
            "a request line after a bare line feed",
            format!("GET /public/x HTTP/1.1\nHost: {HOST}\n\n{second}"),
        ),
        ("HTTP/0.9", format!("GET /public/x\r\n\r\n{second}")),
        ("HTTP/2 without TLS saying so", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{second}")),
        ("a method in lower case", format!("get /public/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n{second}")),
        ("a method that overrides", post("X-HTTP-Method-Override: PUT\r\nContent-Length: 0\r\n", &second)),
        (
            "a tunnel in a tunnel",
            format!("CONNECT hidden.example:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n{second}"),
        ),
        ("a trace", format!("TRACE /public/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n{second}")),
        (
            "a body where there is none",
            format!("GET /public/x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{second}"),
        ),
        ("a denied request, then another", format!("GET {hidden} HTTP/1.1\r\nHost: {HOST}\r\n\r\n{second}")),
    ]
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b10_no_request_hides_in_another() -> Result<()> {
    let rules = json!([{
        "name": "docs", "hosts": [HOST],
        "allow": [{"methods": ["GET"], "paths": ["/public/**"]}, {"methods": ["POST"], "paths": ["/public/form"], "body": {"max": "64Ki"}}],
    }]);
    with_rules(rules, async |out| {
        let hidden = format!("/secret/{}", canary()?);
        let smuggled = smuggled(&hidden);
        let vectors: Vec<Vector> = smuggled.iter().map(|(_, bytes)| Vector::within(HOST, bytes)).collect();
        let answers = answers(&out.ws, "out", &vectors).await?;
        for ((what, _), answer) in smuggled.iter().zip(&answers) {
            let allowed = answer.matches("HTTP/1.1 2").count() + answer.matches("HTTP/1.1 404").count();
            ensure!(allowed <= 1, "{what}: {answer}");
        }
        ensure!(out.lab.asked(&hidden)?.is_empty(), "{:?}", out.lab.asked(&hidden)?);
        ensure!(!out.lab.resolved()?.contains(" hidden.example. "), "a name was asked for");
        let shown = format!("/public/{}", &hidden[8..]);
        let control = format!("GET {shown} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        ws_tests::raw::answers(&out.ws, "out", &[Vector::within(HOST, control)]).await?;
        ensure!(out.lab.asked(&shown)?.len() == 1, "the control arrives");
        Ok(())
    })
    .await
}
