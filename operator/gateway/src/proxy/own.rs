//! What the gateway answers under its own name, to whoever has to know that it is the gateway.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use ws_api::gateway::DECISIONS_PATH;
use ws_policy::request::Request;

use crate::{body::Body, decisions::Reader, refusal::text, session::Session};

/// Answers a request of a workspace.
pub fn answer(session: &Arc<Session>, request: &Request) -> Response<Body> {
    match (&request.method, request.path.as_str()) {
        (&Method::GET, DECISIONS_PATH) => {
            let follows = request.query.pairs().iter().any(|(name, _)| name == "follow");
            decisions(Reader::new(session.clone(), follows))
        }
        _ => text(StatusCode::NOT_FOUND, &"there is no such thing at the gateway"),
    }
}

fn decisions(reader: Reader) -> Response<Body> {
    let lines = stream::unfold(reader, |mut reader| async {
        let lines: Bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(lines)), reader))
    });
    let mut response = Response::new(StreamBody::new(lines).map_err(|never| match never {}).boxed_unsync());
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
