//! Leadership among the operator's replicas, by a [Lease](https://kubernetes.io/docs/concepts/architecture/leases/).
//!
//! Two leaders at a time would do no harm that lasts, since every write is safe to repeat; one is enough and cheaper.

use std::time::Duration;

use anyhow::Context as _;
use kube::{Client, Config};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// Name of the Lease in the operator's namespace.
const LEASE: &str = "ws-operator";
/// Seconds until the heir may follow a leader that is silent, and how long before that the leader renews.
const DURATION: u64 = 9;
const GRACE: u64 = 5;
/// A request that takes longer might be answered after the lease is over.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A candidacy.
#[derive(Debug)]
pub struct Candidate(LeaseManager);

impl Candidate {
    /// Enters the election. `identity` tells this process from the other replicas.
    pub async fn new(mut config: Config, namespace: &str, identity: &str) -> anyhow::Result<Self> {
        // Its own client: the limits would cut the controllers' watches.
        config.connect_timeout = Some(REQUEST_LIMIT);
        config.read_timeout = Some(REQUEST_LIMIT);
        config.write_timeout = Some(REQUEST_LIMIT);
        let client = Client::try_from(config).context("could not make a client for the lease")?;
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
        // A renewal is tried `DURATION - GRACE` after the last one, so what fails beyond that much later is a new trouble.
        let mut trouble: Option<(Instant, Instant)> = None;
        loop {
            match self.0.changed().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    warn!(%error, "could not renew the lease");
                    let now = Instant::now();
                    let recent = |last: Instant| now - last < Duration::from_secs(DURATION - GRACE);
                    let first = trouble.filter(|(_, last)| recent(*last)).map_or(now, |(first, _)| first);
                    if now - first >= Duration::from_secs(GRACE) {
                        return;
                    }
                    trouble = Some((first, now));
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Lets the next replica lead at once.
    pub async fn release(&self) {
        match timeout(REQUEST_LIMIT, self.0.release()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "could not release the lease"),
            Err(_) => warn!("could not release the lease in time"),
        }
    }
}
