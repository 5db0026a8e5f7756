//! A WebSocket with a protocol that kube does not ask for.

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
        UPGRADE,
    },
};
use http_body_util::{BodyExt as _, Limited};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::{
    Client,
    client::{Body, UpgradeConnectionError},
    core::Status,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

use super::invalid;

/// Longest explanation of a refusal that is read.
const REFUSAL: usize = 64 << 10;

/// Makes `request` a WebSocket (RFC 6455 §4.1) of this subprotocol.
pub(super) async fn upgrade(
    client: &Client,
    mut request: Request<Vec<u8>>,
    subprotocol: &'static str,
) -> Result<WebSocketStream<TokioIo<Upgraded>>, kube::Error> {
    let key = generate_key();
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, key.parse().map_err(invalid)?);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    let response = client.send(request.map(Body::from)).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    check(response.headers(), &key, subprotocol).map_err(kube::Error::UpgradeConnection)?;
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| kube::Error::UpgradeConnection(UpgradeConnectionError::GetPendingUpgrade(error)))?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await)
}

fn check(headers: &HeaderMap, key: &str, subprotocol: &str) -> Result<(), UpgradeConnectionError> {
    let is = |name, value: &str| {
        let found = headers.get(name).and_then(|found| found.to_str().ok());
        found.is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    if !is(UPGRADE, "websocket") {
        Err(UpgradeConnectionError::MissingUpgradeWebSocketHeader)
    } else if !is(CONNECTION, "Upgrade") {
        Err(UpgradeConnectionError::MissingConnectionUpgradeHeader)
    } else if headers
        .get(SEC_WEBSOCKET_ACCEPT)
        .is_none_or(|accept| accept != &derive_accept_key(key.as_bytes()))
    {
        Err(UpgradeConnectionError::SecWebSocketAcceptKeyMismatch)
    } else if !is(SEC_WEBSOCKET_PROTOCOL, subprotocol) {
        Err(UpgradeConnectionError::SecWebSocketProtocolMismatch)
    } else {
        Ok(())
    }
}

/// The API server says why in a `Status`; a proxy before it in its own words.
async fn refusal(response: Response<Body>) -> kube::Error {
    let code = response.status();
    if !code.is_client_error() && !code.is_server_error() {
        return kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code));
    }
    let body = match Limited::new(response.into_body(), REFUSAL).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return invalid(std::io::Error::other(error)),
    };
    let status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
        Status::failure(String::from_utf8_lossy(&body).trim(), "Refused").with_code(code.as_u16())
    });
    kube::Error::Api(status.boxed())
}
