//! Says what the gateway denied while a session lasts: each host once for each reason, when it is in the Workspace's status.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use tokio::sync::watch;
use ws_api::{
    reason::Reason,
    workspace::{DeniedHost, EgressStatus, MAX_LAST_DENIED, Workspace},
};

use crate::{cluster::Sight, ui::Ui};

/// Denials that are said, a line each; of further ones it is only said that there are some.
const SAID: usize = 50;

/// What was said already, and what is known by now.
#[derive(Debug, Default)]
pub struct Denied {
    /// Hosts with the reasons.
    said: HashSet<(String, Option<String>)>,
    /// It was said that there are more.
    is_more_said: bool,
    /// How much was denied when last looked at, and how much of it at each host that was named then.
    seen: (i64, HashMap<String, i64>),
}

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
        let Some(status) = &workspace.status else { return Vec::new() };
        let Some(egress) = &status.egress else { return Vec::new() };
        let class = status.class_name.as_deref().unwrap_or("CLASS");
        let mut has_more = self.has_unnamed(egress);
        let mut lines = Vec::new();
        // The latest is the first there.
        for denied in egress.last_denied.iter().rev() {
            let news = (denied.host.clone(), denied.reason.clone());
            if self.said.contains(&news) {
                continue;
            }
            if self.said.len() == SAID {
                has_more = true;
                break;
            }
            self.said.insert(news);
            lines.push(line(denied, class));
        }
        if has_more && !mem::replace(&mut self.is_more_said, true) {
            let name = workspace.metadata.name.as_deref().unwrap_or("NAME");
            lines.push(format!("more hosts are denied than are named here · `ws egress {name}` lists them"));
        }
        lines
    }

    /// Whether more was denied since the last look than at the hosts that are named. What named no host accounts for the rest as long
    /// as there is room for all hosts.
    fn has_unnamed(&mut self, egress: &EgressStatus) -> bool {
        let counts = egress.last_denied.iter().map(|denied| (denied.host.clone(), denied.count)).collect();
        let (denied, before) = mem::replace(&mut self.seen, (egress.denied, counts));
        let named = egress.last_denied.iter().map(|denied| {
            // A host that was no longer named meanwhile is counted anew.
            let before = before.get(&denied.host).filter(|before| **before <= denied.count);
            denied.count.saturating_sub(before.copied().unwrap_or_default())
        });
        let named = named.fold(0, i64::saturating_add);
        egress.last_denied.len() >= MAX_LAST_DENIED && egress.denied.saturating_sub(denied) > named
    }
}

fn line(denied: &DeniedHost, class: &str) -> String {
    format!("{} denied{} · ask your admin or see `ws policy explain {class}`", denied.host, why(denied))
}

/// Why a host was denied, as what follows it: `: no rule names it`. Empty if this version of ws has no words for it.
pub fn why(denied: &DeniedHost) -> String {
    let reason = denied.reason.as_deref().and_then(|name| name.parse().ok());
    reason.map(|reason| format!(": {}", words(reason))).unwrap_or_default()
}

/// What a reason means to people.
fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::HostNotAllowed => "no rule names it",
        Reason::IpLiteral => "it is an address, and rules name hosts",
        Reason::RuleNotPicked => "this workspace left its rule out",
        Reason::PortNotAllowed => "its rule does not name the port",
        Reason::SchemeNotAllowed => "its rule allows only the other scheme (http or https)",
        Reason::RequestNotAllowed => "its rule allows no such request",
        Reason::MisplacedPlaceholder => "a placeholder for a credential stands in its URL",
        Reason::QueryNotAllowed => "its rule allows no such query",
        Reason::WebSocket => "its rule says otherwise where WebSockets are opened",
        Reason::BodyTooLong => "its rule allows no body that long",
        Reason::BodyRule => "its rule allows no such body",
        Reason::EncodedBody => "its rule looks into bodies, and this one was encoded",
        Reason::PackageNotAllowed => "its rule does not name the package",
        Reason::TooNew => "this version is newer than its rule allows",
        Reason::OverBudget => "its rule's budget is spent",
        Reason::NotFoundBudget => "too many requests found nothing",
        Reason::NoPolicy => "the class cannot be used, or is not known yet",
        Reason::Revoked => "the policy changed and does not allow it any more",
        Reason::NoCredential => "the credential of its rule cannot be read",
        Reason::CredentialReflected => "its answer held the credential of its rule",
        Reason::SpecialAddress => "it has no public address",
        Reason::Unreachable => "it cannot be reached",
        Reason::Overloaded => "the gateway has no room now",
        Reason::SlowBody => "the request did not arrive in time",
        Reason::BrokenOff => "one side broke the connection off",
        Reason::Idle => "nothing was said for too long",
        Reason::Internal => "the gateway failed",
        Reason::Malformed => "the request was malformed",
        Reason::Misdirected => "the request names another host than its connection",
        Reason::NotTls => "what was sent there is neither TLS nor HTTP",
        Reason::NotTheAgent => "the connection did not come through the agent",
        Reason::UnknownWorkspace => "the gateway does not know the workspace",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MORE: &str = "more hosts are denied than are named here · `ws egress w` lists them";

    fn workspace(hosts: &[(&str, Option<&str>)]) -> Workspace {
        let hosts: Vec<_> = hosts.iter().map(|(host, reason)| named(host, 1, *reason)).collect();
        counted(0, &hosts)
    }

    fn named(host: &str, count: i64, reason: Option<&str>) -> Value {
        json!({"host": host, "count": count, "at": "2026-11-21T08:00:00Z", "reason": reason})
    }

    /// A workspace with so many denials, and these hosts named.
    fn counted(denied: i64, hosts: &[Value]) -> Workspace {
        let egress = json!({"denied": denied, "lastDenied": hosts});
        serde_json::from_value(json!({
            "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "w"},
            "spec": {"sshPublicKeys": []}, "status": {"className": "team", "egress": egress},
        }))
        .unwrap()
    }

    #[test]
    fn each_host_is_said_once_for_each_reason_and_the_first_first() {
        let mut denied = Denied::default();
        assert!(denied.news(&workspace(&[])).is_empty());
        let said = |what: &str| format!("{what} · ask your admin or see `ws policy explain team`");
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
        let lines = denied.news(&workspace(&flood));
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (SAID - 4 + 1, Some(MORE)));
        assert!(denied.news(&workspace(&[("last.example", unnamed)])).is_empty(), "it is said once");
    }

    #[test]
    fn hosts_that_the_status_has_no_room_for_are_told_of_and_what_names_no_host_is_not_taken_for_them() {
        let hosts = |count: i64| -> Vec<Value> {
            (0..MAX_LAST_DENIED).map(|number| named(&format!("{number}.example"), count, None)).collect()
        };
        let few = &hosts(1)[..3];
        let all = i64::try_from(MAX_LAST_DENIED).unwrap();
        for (looks, expected) in [
            (vec![counted(9, few)], false),
            (vec![counted(all, &hosts(1))], false),
            (vec![counted(all + 1, &hosts(1))], true),
            (vec![counted(3, few), counted(all, &hosts(1))], false),
            (vec![counted(3, few), counted(all + 1, &hosts(1))], true),
            (vec![counted(5 * all, &hosts(5)), counted(7 * all, &hosts(7))], false),
            (vec![counted(5 * all, &hosts(5)), counted(7 * all + 1, &hosts(7))], true),
            // Named again after it was not.
            (vec![counted(5 * all, &hosts(5)), counted(6 * all, &hosts(1))], false),
        ] {
            let mut denied = Denied::default();
            let lines: Vec<String> = looks.iter().flat_map(|look| denied.news(look)).collect();
            assert_eq!(lines.last().is_some_and(|line| line == MORE), expected, "{lines:?}");
            assert_eq!(lines.iter().filter(|line| *line == MORE).count(), usize::from(expected));
        }
    }

    #[test]
    fn each_reason_reads_unlike_the_others() {
        let mut all = HashSet::new();
        for reason in Reason::ALL {
            assert!(all.insert(words(*reason)), "{reason:?} reads like another");
        }
    }

    #[test]
    fn a_reason_of_another_version_is_left_out() {
        let news = Denied::default().news(&workspace(&[("a.example", Some("phase-of-the-moon"))]));
        assert_eq!(news, ["a.example denied · ask your admin or see `ws policy explain team`"]);
    }
}
