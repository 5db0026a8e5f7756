//! What a client still sends when its request has been refused.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::{Body, BodyError};

/// Bytes that are read and forgotten.
const ENOUGH: usize = 64 << 10;
/// How long they are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer that ends when the request's body does. On HTTP/2, a stream that ends earlier is reset, and some clients that still send
/// take that for an error and forget the answer before it (libcurl 7.88, and cargo with it).
struct Draining {
    answer: Body,
    unread: Incoming,
    left: usize,
    deadline: Pin<Box<Sleep>>,
}

/// Sees that a refusal is heard, of which the client has not sent the whole body.
pub fn drain_unread(answer: Response<Body>, version: Version, unread: Incoming) -> Response<Body> {
    if version != Version::HTTP_2 || unread.is_end_stream() {
        return answer;
    }
    let deadline = Box::pin(sleep(PATIENCE));
    answer.map(|answer| Draining { answer, unread, left: ENOUGH, deadline }.boxed_unsync())
}

impl Draining {
    /// Ready when nothing more is waited for.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.deadline.as_mut().poll(cx).is_pending() {
            match Pin::new(&mut self.unread).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    let Some(left) = self.left.checked_sub(length) else { break };
                    self.left = left;
                }
                Poll::Ready(Some(Err(_)) | None) => break,
            }
        }
        Poll::Ready(())
    }
}

impl hyper::body::Body for Draining {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.answer).poll_frame(cx) {
            Poll::Ready(None) => self.poll_unread(cx).map(|()| None),
            answer => answer,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
    use http::Request;
    use http_body_util::StreamBody;
    use hyper::{client::conn::http2 as client, server::conn::http2 as server, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::body::whole;

    /// A refusal that has arrived as far as its text, and what sends more of the request's body.
    async fn refused() -> (Incoming, mpsc::Sender<Bytes>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let refuse = service_fn(|request: Request<Incoming>| async {
            let (head, body) = request.into_parts();
            Ok::<_, Infallible>(drain_unread(Response::new(whole("denied")), head.version, body))
        });
        tokio::spawn(server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), refuse));
        let (mut requests, connection) =
            client::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        let (more, body) = mpsc::channel(0);
        let body = StreamBody::new(body.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))));
        let request = Request::post("http://docs.example/").body(body).unwrap();
        let mut answer = requests.send_request(request).await.unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "denied");
        (answer, more)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_with_the_body_that_nobody_wants() {
        let (mut answer, mut more) = refused().await;
        more.send(Bytes::from_static(b"hello")).await.unwrap();
        assert!(timeout(PATIENCE / 2, answer.frame()).await.is_err(), "it lasts as long as the body does");
        drop(more);
        assert!(timeout(PATIENCE / 10, answer.collect()).await.unwrap().unwrap().to_bytes().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_neither_long_nor_for_much() {
        let start = Instant::now();
        let (answer, _more) = refused().await;
        answer.collect().await.unwrap();
        assert!(start.elapsed() <= PATIENCE * 2);

        let (answer, mut more) = refused().await;
        for _ in 0..=ENOUGH / 1_000 {
            more.send(Bytes::from_static(&[b'x'; 1_000])).await.ok();
        }
        timeout(PATIENCE / 2, answer.collect()).await.unwrap().unwrap();
    }
}
