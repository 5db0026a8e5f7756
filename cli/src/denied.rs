//! Says what the gateway denied while a session lasts: each host once, when it is in the Workspace's status.

use std::collections::HashSet;

use tokio::sync::watch;
use ws_api::workspace::Workspace;

use crate::{cluster::Sight, ui::Ui};

/// Hosts that are said; a program that tries more is no longer listened to.
const SAID: usize = 50;

/// The hosts that were said already.
#[derive(Debug, Default)]
pub struct Denied(HashSet<String>);

impl Denied {
    /// What there is to say, in lines for people. The hosts are hostile: the [`Ui`] escapes them.
    fn news(&mut self, workspace: &Workspace) -> Vec<String> {
        let status = workspace.status.as_ref().and_then(|status| status.egress.as_ref());
        let mut hosts: Vec<_> = status.map(|egress| egress.last_denied.iter().collect()).unwrap_or_default();
        // The latest is the first there.
        hosts.reverse();
        let class =
            workspace.status.as_ref().and_then(|status| status.class_name.as_deref()).unwrap_or("CLASS");
        let mut lines = Vec::new();
        for denied in hosts {
            if self.0.len() < SAID && self.0.insert(denied.host.clone()) {
                lines.push(format!(
                    "{} denied; ask your admin, or see `ws policy explain {class}`",
                    denied.host
                ));
            }
        }
        lines
    }
}

/// Says what is denied, for as long as it is polled.
pub async fn announce(mut sight: watch::Receiver<Sight>, ui: &Ui) {
    let mut denied = Denied::default();
    loop {
        let lines = denied.news(&sight.borrow_and_update().workspace);
        for line in lines {
            ui.warn(&line);
        }
        if sight.changed().await.is_err() {
            // The watch has ended, and with it the news.
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(hosts: &[&str]) -> Workspace {
        let denied: Vec<_> = hosts
            .iter()
            .map(|host| json!({"host": host, "count": 1, "at": "2026-11-21T08:00:00Z"}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "w"},
            "spec": {"sshPublicKeys": []}, "status": {"className": "team", "egress": {"lastDenied": denied}},
        }))
        .unwrap()
    }

    #[test]
    fn each_host_is_said_once_and_the_first_first() {
        let mut denied = Denied::default();
        assert!(denied.news(&workspace(&[])).is_empty());
        let said = |host: &str| format!("{host} denied; ask your admin, or see `ws policy explain team`");
        assert_eq!(
            denied.news(&workspace(&["b.example", "a.example"])),
            [said("a.example"), said("b.example")]
        );
        assert_eq!(denied.news(&workspace(&["c.example", "b.example", "a.example"])), [said("c.example")]);
        let flood: Vec<_> = (0..100).map(|number| format!("{number}.example")).collect();
        let flood: Vec<_> = flood.iter().map(String::as_str).collect();
        assert_eq!(denied.news(&workspace(&flood)).len(), SAID - 3);
    }
}
