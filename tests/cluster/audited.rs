//! What was decided on the workspace of a test of the way out: what it looks at beside what was answered and what arrived.

use anyhow::{Result, ensure};
use serde_json::Value;
use ws_tests::{
    audit::Outcome,
    raw::Answer,
    wait::{PATIENCE, eventually},
};

use crate::way_out::{CREDENTIAL, Out};

/// Fails if something that this test made up, or the credential, is in the gateways' logs, or if these do not account for each decision.
pub(crate) async fn nothing_that_was_sent_is_written_down(out: &Out<'_>) -> Result<()> {
    out.audit.holds_nothing_that_was_sent(&out.ws, &[CREDENTIAL]).await
}

/// Fails unless the user is told of each of these refusals, a host and a reason, also of what was allowed and did not come to its end.
pub(crate) async fn are_told(out: &Out<'_>, expected: &[(&str, &str)]) -> Result<()> {
    eventually(PATIENCE, "these refusals", async || {
        let told = out.audit.decisions(&out.ws).await?;
        for (host, reason) in expected {
            let is_this = |line: &Value| line["host"] == *host && line["reason"] == *reason;
            ensure!(told.iter().any(is_this), "{reason} of {host} is not in {told:?}");
        }
        anyhow::Ok(Some(()))
    })
    .await
}

/// Fails unless exactly this was decided since the last look.
pub(crate) async fn these_alone_are_told(out: &Out<'_>, expected: &[Outcome<'_>]) -> Result<()> {
    out.audit.is(&out.ws, expected).await
}

/// Fails unless the user is told of the refusals that these answers hold, of each once, and of no other since the last look.
pub(crate) async fn each_refusal_is_told(out: &Out<'_>, answers: &[Answer]) -> Result<()> {
    out.audit.is_as_answered(&out.ws, answers).await
}
