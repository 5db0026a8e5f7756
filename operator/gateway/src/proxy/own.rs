//! What the gateway answers under its own name, to whoever has to know that it is the gateway.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use ws_api::gateway::DECISIONS_PATH;
use ws_policy::request::Request;

use crate::{
    body::Body,
    decisions::Reader,
    refusal::{Refusal, text},
    session::{Session, Turn},
};

/// Answers a request of a workspace.
pub fn answer(session: &Arc<Session>, request: &Request) -> Response<Body> {
    match (&request.method, request.path.as_str()) {
        (&Method::GET, DECISIONS_PATH) => {
            let follows = request.query.pairs().iter().any(|(name, _)| name == "follow");
            let Some(turn) = session.turn() else { return Refusal::Busy.response() };
            decisions((Reader::new(session.clone(), follows), turn))
        }
        _ => text(StatusCode::NOT_FOUND, &"there is no such thing at the gateway"),
    }
}

fn decisions(reading: (Reader, Turn)) -> Response<Body> {
    let lines = stream::unfold(reading, |(mut reader, turn)| async {
        let line: Bytes = reader.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(line)), (reader, turn)))
    });
    let mut response = Response::new(StreamBody::new(lines).map_err(|never| match never {}).boxed_unsync());
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
