//! Decides by what a body says, if a rule looks into it: then it has to be there whole.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_ENCODING};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use tracing::error;
use ws_policy::{
    decide::{Allowed, Decision, Undecided},
    host::Host,
    request::Request,
};

use crate::{body::OwnRoom, proxy::Proxy, refusal::Refusal};

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest body that is read where it arrived: it takes a millisecond.
const AT_ONCE: usize = 128 << 10;
/// Longer bodies are read by so many at once, of all workspaces: as many as leave others a processor.
static READERS: Semaphore = Semaphore::const_new(2);

impl Proxy {
    /// What a decision allows, with the body if it was looked into.
    pub(super) async fn judge(
        &self,
        own: &OwnRoom,
        decision: Decision,
        request: &Request,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Result<(Allowed, Option<Bytes>), Refusal> {
        match decision {
            Decision::Allowed(allowed) => Ok((allowed, None)),
            Decision::NeedsBody(undecided) => {
                if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
                    return Ok((undecided.whatever_it_says().ok_or(Refusal::Encoded)?, None));
                }
                let whole = timeout(PATIENCE, self.whole_body(own, &undecided, request, body));
                let bytes = whole.await.map_err(|_| Refusal::Slow)??;
                Ok((read(undecided, request.host.clone(), bytes.clone()).await?, Some(bytes)))
            }
        }
    }

    /// A body as it comes, with room for what has come.
    async fn whole_body(
        &self,
        own: &OwnRoom,
        undecided: &Undecided,
        request: &Request,
        body: &mut Incoming,
    ) -> Result<Bytes, Refusal> {
        let max = undecided.max_body();
        let fits = |length: u64| {
            if length > max { Err(Refusal::from(undecided.too_long(&request.host))) } else { Ok(()) }
        };
        // None if it does not say how long it is.
        let announced = body.size_hint().exact().unwrap_or_default();
        fits(announced)?;
        let mut permit = self.room.permit(own);
        permit.announce(announced).await.ok_or(Refusal::Full)?;
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            // Trailers say nothing that a rule looks into.
            let Ok(data) = frame.map_err(|_| Refusal::BrokenOff)?.into_data() else { continue };
            let length = (whole.len() + data.len()) as u64;
            fits(length)?;
            permit.grow(length).await.ok_or(Refusal::Full)?;
            whole.extend_from_slice(&data);
        }
        Ok(permit.hold(whole.freeze()))
    }
}

/// Decides by a body. Long ones are read where nobody else's requests wait for them, few at a time.
async fn read(undecided: Undecided, host: Host, body: Bytes) -> Result<Allowed, Refusal> {
    if body.len() <= AT_ONCE {
        return Ok(undecided.decide(&host, &body)?);
    }
    Ok(apart(&READERS, move || undecided.decide(&host, &body)).await??)
}

/// Does what takes long, as one of so many. It goes on when nobody waits for it any more, and so keeps its turn and whatever it holds.
async fn apart<T: Send + 'static>(
    turns: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let turn = turns.acquire().await;
    let done = spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.map_err(|failed| {
        error!(error = %failed, "a body could not be read to its end");
        Refusal::Internal
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn b25_who_goes_away_does_not_make_more_bodies_be_read_at_once() {
        static TURNS: Semaphore = Semaphore::const_new(1);
        let (begun, begins) = channel();
        let (end, ended) = channel::<()>();
        let reading = apart(&TURNS, move || {
            begun.send(()).unwrap();
            ended.recv().unwrap();
        });
        assert!(timeout(Duration::from_millis(100), reading).await.is_err(), "nobody waits any more");
        begins.recv().unwrap();
        let next = apart(&TURNS, || ());
        assert!(timeout(Duration::from_millis(100), next).await.is_err(), "and it goes on");
        end.send(()).unwrap();
        apart(&TURNS, || ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_failure_of_the_gateway_is_called_one() {
        static TURNS: Semaphore = Semaphore::const_new(1);
        let failed = apart(&TURNS, || panic!("on purpose")).await.map(|(): ()| ());
        assert_eq!(failed, Err(Refusal::Internal));
        assert_eq!(Refusal::Internal.response().status(), 500);
        apart(&TURNS, || ()).await.expect("its turn is given back");
    }
}
