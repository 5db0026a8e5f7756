//! Leadership among the operator's replicas, by a [Lease](https://kubernetes.io/docs/concepts/architecture/leases/).
//!
//! Two leaders at a time would do no harm that lasts, since every write is safe to repeat; one is enough and cheaper.

use std::{fmt::Display, time::Duration};

use anyhow::Context as _;
use kube::{Config, client::ClientBuilder};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::time::{Instant, sleep, timeout};
use tower::timeout::TimeoutLayer;
use tracing::{info, warn};

/// Name of the Lease in the operator's namespace.
const LEASE: &str = "ws-operator";
/// Seconds until the heir may follow a leader that is silent, and how long before that the leader renews. A policy that is
/// damaged while nobody leads is to be repaired within 5 s as well: the heir waits for up to a second more, then lists.
const DURATION: u64 = 3;
const GRACE: u64 = 2;
/// A request that takes longer might be answered after the lease is over.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// The longest from one failure to the next while nothing is answered; later than that, a renewal has succeeded in between. One
/// that succeeded sooner is overlooked: then a leader gives up without need, and another follows.
const SAME_TROUBLE: Duration = Duration::from_millis(2500);

/// A candidacy.
#[derive(Debug)]
pub struct Candidate(LeaseManager);

impl Candidate {
    /// Enters the election. `identity` tells this process from the other replicas.
    pub async fn new(mut config: Config, namespace: &str, identity: &str) -> anyhow::Result<Self> {
        // Its own client: the limit would cut the controllers' watches. Requests that are repeated would not keep to it, and the
        // configuration's own limits hold for connections, of which an idle one would be cut too.
        config.default_retry = false;
        let client = ClientBuilder::try_from(config).context("could not make a client for the lease")?;
        let client = client.with_layer(&TimeoutLayer::new(REQUEST_LIMIT)).build();
        let manager = LeaseManagerBuilder::new(client, LEASE)
            .with_namespace(namespace)
            .with_identity(identity)
            // A field manager of its own, so that two candidates who take a free lease at once conflict.
            .with_field_manager(format!("{}-{identity}", ws_api::OPERATOR_FIELD_MANAGER))
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await
            .context("could not read or create the lease")?;
        Ok(Self(manager))
    }

    /// Waits to be the leader.
    pub async fn lead(&self) {
        loop {
            match self.0.changed().await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    warn!(%error, "could not ask for the lease");
                    sleep(RETRY_AFTER).await;
                }
            }
        }
        info!("this replica leads");
    }

    /// Renews the lease until it is lost.
    pub async fn lose(&self) {
        lose(async || self.0.changed().await).await;
    }

    /// Frees the lease. The next replica leads once the lease as it last saw it is over: `DURATION` at most.
    pub async fn release(&self) {
        match timeout(REQUEST_LIMIT, self.0.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "could not release the lease"),
            Err(_) => warn!("could not release the lease in time"),
        }
    }
}

/// Returns when another replica leads, or when renewals have failed for as long as the lease lasts without them. `changed`
/// renews, and returns after a failure or a change of leadership only.
async fn lose<E: Display>(mut changed: impl AsyncFnMut() -> Result<bool, E>) {
    let mut trouble: Option<(Instant, Instant)> = None;
    loop {
        match changed().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                warn!(%error, "could not renew the lease");
                let now = Instant::now();
                let same = trouble.filter(|(_, last)| now - *last <= SAME_TROUBLE);
                let first = same.map_or(now, |(first, _)| first);
                if now - first >= Duration::from_secs(GRACE) {
                    return;
                }
                trouble = Some((first, now));
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Time until leadership is given up if the renewals of `changed` fail after these times, and all further ones succeed.
    async fn given_up_after(failures: impl IntoIterator<Item = Duration>) -> Option<Duration> {
        let mut failures = failures.into_iter();
        let started = Instant::now();
        let changed = async || match failures.next() {
            Some(after) => {
                sleep(after).await;
                Err("no answer")
            }
            None => pending().await,
        };
        timeout(Duration::from_hours(1), lose(changed)).await.ok().map(|()| started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_renewals_fail_gives_up() {
        for (what, after) in [
            ("refused", Duration::ZERO),
            ("no answer", REQUEST_LIMIT),
            ("no answer twice", 2 * REQUEST_LIMIT),
        ] {
            let given_up = given_up_after(std::iter::repeat(after)).await;
            let soon = Duration::from_secs(DURATION + GRACE);
            assert!(given_up.is_some_and(|given_up| given_up <= soon), "{what}: {given_up:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_renews_in_between_goes_on() {
        // A renewal that succeeds, and the next one that is not answered.
        let renewed = Duration::from_secs(DURATION - GRACE) + 2 * REQUEST_LIMIT;
        assert_eq!(given_up_after(std::iter::repeat_n(renewed, 100)).await, None);
        assert_eq!(given_up_after([Duration::ZERO]).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_another_follows_stops_at_once() {
        let started = Instant::now();
        lose(async || Ok::<_, &str>(false)).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
