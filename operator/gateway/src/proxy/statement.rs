//! What an agent says to the gateway itself, in origin form: [`Isolated`].

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use tokio::time::timeout;
use ws_api::gateway::{ISOLATED_PATH, Isolated};

use super::text;

/// Longest statement, in bytes.
const MAX_BODY: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a request is for the gateway and not for somewhere beyond it.
pub fn is_meant(head: &Parts) -> bool {
    head.method == Method::POST && head.uri.authority().is_none() && head.uri.path() == ISOLATED_PATH
}

/// Reads a statement and hands on its attempts. It does not wait until they are recorded: the agent serves its user
/// meanwhile.
pub async fn take<B>(body: B, record: impl FnOnce(u32)) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display + Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Ok(body) = timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await else {
        return text(StatusCode::REQUEST_TIMEOUT, &"the statement did not arrive in time");
    };
    match body.map(|body| serde_json::from_slice::<Isolated>(&body.to_bytes())) {
        Ok(Ok(statement)) => {
            record(statement.attempts);
            let mut taken = Response::default();
            *taken.status_mut() = StatusCode::NO_CONTENT;
            taken
        }
        Ok(Err(_)) => text(StatusCode::BAD_REQUEST, &"this is no statement of an agent"),
        Err(_) => text(StatusCode::BAD_REQUEST, &format_args!("a statement has at most {MAX_BODY} bytes")),
    }
}
