//! Waits for the cluster to say something, within a time.

use std::{fmt::Display, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// For what only has to happen, whatever else the machine does meanwhile: how soon is another test's claim.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks `probe` every 50 ms until it has an answer; fails after `limit` naming `what`.
pub async fn eventually<T, E: Display>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>, E>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let error = match probe().await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() > end {
            match error {
                Some(error) => bail!("not within {limit:?}: {what}: {error:#}"),
                None => bail!("not within {limit:?}: {what}"),
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}
