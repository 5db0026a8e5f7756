//! Says what the gateway denied while a session lasts: each host once for each reason, when it is in the Workspace's status.

use std::collections::HashSet;

use tokio::sync::watch;
use ws_api::workspace::{DeniedHost, Workspace};

use crate::{cluster::Sight, ui::Ui};

/// Denials that are said; a program that tries more is no longer listened to.
const SAID: usize = 50;

/// The hosts that were said already, with the reasons.
#[derive(Debug, Default)]
pub struct Denied(HashSet<(String, Option<String>)>);

impl Denied {
    /// Says what is denied, for as long as it is polled.
    pub async fn announce(&mut self, mut sight: watch::Receiver<Sight>, ui: &Ui) {
        loop {
            self.say(&mut sight, ui);
            if sight.changed().await.is_err() {
                // The watch has ended, and with it the news.
                return std::future::pending().await;
            }
        }
    }

    /// Says what was denied by now. A session may be over before the status says what it tried last.
    pub fn say(&mut self, sight: &mut watch::Receiver<Sight>, ui: &Ui) {
        let lines = self.news(&sight.borrow_and_update().workspace);
        for line in lines {
            ui.warn(&line);
        }
    }

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
            if self.0.len() < SAID && self.0.insert((denied.host.clone(), denied.reason.clone())) {
                lines.push(line(denied, class));
            }
        }
        lines
    }
}

fn line(denied: &DeniedHost, class: &str) -> String {
    format!("{} denied{} · ask your admin or see ws policy explain {class}", denied.host, why(denied))
}

/// Why a host was denied, as what follows it: `: no rule names it`. Empty if this version of ws has no words for it.
pub fn why(denied: &DeniedHost) -> String {
    denied.reason.as_deref().and_then(words).map(|why| format!(": {why}")).unwrap_or_default()
}

/// What the gateway's name for a reason means to people. None: the name is of another version of ws.
fn words(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "host-not-allowed" => "no rule names it",
        "ip-literal" => "it is an address, and rules name hosts",
        "rule-not-picked" => "this workspace left its rule out",
        "port-not-allowed" => "its rule does not name the port",
        "scheme-not-allowed" => "its rule is for the other of http and https",
        "request-not-allowed" => "its rule allows no such request",
        "query-not-allowed" => "its rule allows no such query",
        "web-socket" => "its rule says otherwise where WebSockets are opened",
        "body-too-long" => "its rule allows no body that long",
        "body-rule" => "its rule allows no such body",
        "encoded-body" => "its rule looks into bodies, and this one was encoded",
        "package-not-allowed" => "its rule does not name the package",
        "too-new" => "its rule allows older versions only",
        "over-budget" => "its rule's budget is spent",
        "not-found-budget" => "too much was asked for that is not there",
        "no-policy" => "the class cannot be used, or is not known yet",
        "revoked" => "the policy changed and does not allow it any more",
        "no-credential" => "the credential of its rule cannot be read",
        "credential-reflected" => "its answer held the credential of its rule",
        "special-address" => "it has no address of the internet's",
        "unreachable" => "it cannot be reached",
        "overloaded" => "the gateway has no room now",
        "slow-body" => "the request did not arrive in time",
        "malformed" => "the request was malformed",
        "misdirected" => "the request names another host than its connection",
        "not-tls" => "what was sent there is neither TLS nor HTTP",
        "not-the-agent" => "the connection did not come through the agent",
        "unknown-workspace" => "the gateway does not know the workspace",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(hosts: &[(&str, Option<&str>)]) -> Workspace {
        let denied: Vec<_> = hosts
            .iter()
            .map(|(host, reason)| {
                json!({"host": host, "count": 1, "at": "2026-11-21T08:00:00Z", "reason": reason})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "w"},
            "spec": {"sshPublicKeys": []}, "status": {"className": "team", "egress": {"lastDenied": denied}},
        }))
        .unwrap()
    }

    #[test]
    fn each_host_is_said_once_for_each_reason_and_the_first_first() {
        let mut denied = Denied::default();
        assert!(denied.news(&workspace(&[])).is_empty());
        let said = |what: &str| format!("{what} · ask your admin or see ws policy explain team");
        let unnamed = Some("host-not-allowed");
        assert_eq!(
            denied.news(&workspace(&[("telemetry.example", unnamed), ("a.example", None)])),
            [said("a.example denied"), said("telemetry.example denied: no rule names it")]
        );
        let twice =
            workspace(&[("api.example", Some("request-not-allowed")), ("telemetry.example", unnamed)]);
        assert_eq!(
            denied.news(&twice),
            [said("api.example denied: its rule allows no such request")],
            "what was said is not said again"
        );
        assert!(denied.news(&twice).is_empty());
        assert_eq!(
            denied.news(&workspace(&[("api.example", Some("over-budget"))])),
            [said("api.example denied: its rule's budget is spent")],
            "another reason is news"
        );
        let flood: Vec<_> = (0..100).map(|number| format!("{number}.example")).collect();
        let flood: Vec<_> = flood.iter().map(|host| (host.as_str(), unnamed)).collect();
        assert_eq!(denied.news(&workspace(&flood)).len(), SAID - 4);
        assert!(denied.news(&workspace(&[("last.example", unnamed)])).is_empty());
    }

    #[test]
    fn each_reason_of_the_gateway_has_words() {
        let names: Vec<&str> = include_str!("../../operator/gateway/src/refusal.rs")
            .lines()
            .filter(|line| line.trim_start().starts_with("Self::"))
            .filter_map(|line| line.split_once("=> \"")?.1.strip_suffix("\","))
            .collect();
        assert!(names.contains(&"host-not-allowed") && names.contains(&"web-socket"), "{names:?}");
        let mut all = HashSet::new();
        for name in names {
            let words = words(name).unwrap_or_else(|| panic!("`{name}` has no words"));
            assert!(all.insert(words), "`{name}` reads like another: {words}");
        }
    }

    #[test]
    fn a_reason_of_another_version_is_left_out() {
        let news = Denied::default().news(&workspace(&[("a.example", Some("phase-of-the-moon"))]));
        assert_eq!(news, ["a.example denied · ask your admin or see ws policy explain team"]);
    }
}
