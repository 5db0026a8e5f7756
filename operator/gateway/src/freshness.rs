//! Policies hold as long as the gateway hears from the API server: one that is cut off knows of no change, and must not go on for ever
//! by what an admin may have taken back.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::policies::Policies;

/// How often the gateway looks whether the API server answers.
const PAUSE: Duration = Duration::from_secs(30);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long policies hold without any.
const TERM: Duration = Duration::from_mins(5);

/// Suspends the policies while the API server has not answered for five minutes, until `shutdown`. `answers` asks it.
pub async fn keep<E: std::fmt::Display>(
    answers: impl AsyncFn() -> Result<(), E>,
    policies: watch::Sender<Policies>,
    shutdown: CancellationToken,
) {
    let mut heard = Instant::now();
    while shutdown.run_until_cancelled(sleep(PAUSE)).await.is_some() {
        match timeout(PATIENCE, answers()).await {
            Ok(Ok(())) => heard = Instant::now(),
            Ok(Err(error)) => warn!(%error, "the API server does not answer"),
            Err(_) => warn!("the API server does not answer in time"),
        }
        let are_stale = heard.elapsed() >= TERM;
        if policies.send_if_modified(|policies| policies.set_stale(are_stale)) {
            info!(are_stale, "whether policies are too old to be trusted has changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use serde_json::json;

    use super::*;
    use crate::{policies::NoPolicy, testing::policies_with};

    #[tokio::test(start_paused = true)]
    async fn b26_a_gateway_that_is_cut_off_stops_allowing_and_goes_on_when_it_is_back() {
        let (sender, policies) = watch::channel(policies_with(&json!([])));
        let is_reached = Arc::new(AtomicBool::new(true));
        let answers = {
            let is_reached = is_reached.clone();
            async move || {
                let is_reached = is_reached.load(Ordering::Relaxed);
                if is_reached { Ok(()) } else { Err(io::Error::other("no route")) }
            }
        };
        tokio::spawn(keep(answers, sender, CancellationToken::new()));
        let judged = || policies.borrow().of("ws-uid").map(drop);
        sleep(TERM * 2).await;
        assert_eq!(judged(), Ok(()));
        is_reached.store(false, Ordering::Relaxed);
        sleep(TERM.saturating_sub(PAUSE * 2)).await;
        assert_eq!(judged(), Ok(()));
        sleep(PAUSE * 3).await;
        assert_eq!(judged(), Err(NoPolicy::Stale));
        is_reached.store(true, Ordering::Relaxed);
        sleep(PAUSE * 2).await;
        assert_eq!(judged(), Ok(()));
    }
}
