//! Whether what is going on is still allowed: whoever lasts, a stream or a connection, is judged again when the policy changes.

use std::sync::Arc;

use tokio::sync::watch;
use ws_policy::class::Policy;

use crate::policies::{NoPolicy, Policies};

/// Where the policy of one workspace is found.
#[derive(Clone, Debug)]
pub struct Standing {
    policies: watch::Receiver<Policies>,
    workspace_uid: Arc<str>,
}

impl Standing {
    pub fn new(policies: watch::Receiver<Policies>, workspace_uid: &str) -> Self {
        Self { policies, workspace_uid: workspace_uid.into() }
    }

    /// The policy as it is now. From here on, [`Standing::lost`] sees every change of it.
    pub fn policy(&mut self) -> Result<Policy, NoPolicy> {
        self.policies.borrow_and_update().of(&self.workspace_uid)
    }

    /// Resolves when the workspace is known.
    pub async fn known(&mut self) {
        let uid = self.workspace_uid.clone();
        let is_known = |policies: &Policies| !matches!(policies.of(&uid), Err(NoPolicy::Unknown));
        // The other end goes with the process.
        self.policies.wait_for(is_known).await.ok();
    }

    /// Resolves when the policy has changed to one for which `holds` is false, or is there no longer.
    pub async fn lost(mut self, holds: impl Fn(&Policy) -> bool) {
        // The other end goes with the process.
        while self.policies.changed().await.is_ok() {
            if !self.policy().is_ok_and(|policy| holds(&policy)) {
                return;
            }
        }
    }
}
