use super::*;
use crate::testing::identity;

fn at(second: u32) -> Timestamp {
    format!("2026-11-21T08:00:{second:02}.123456789Z").parse().unwrap()
}

fn denied(hosts: &[(&str, u32)]) -> Account {
    let mut account = Account::default();
    for (host, second) in hosts {
        account.deny(host, Reason::HostNotAllowed, at(*second));
    }
    account
}

fn hosts(egress: &EgressStatus) -> Vec<String> {
    egress
        .last_denied
        .iter()
        .map(|denied| format!("{} ×{} :{}", denied.host, denied.count, denied.at.0.strftime("%S%.f")))
        .collect()
}

#[test]
fn each_host_is_listed_once_and_the_latest_first() {
    let account = denied(&[("a", 1), ("b", 2), ("a", 3), ("", 4), ("c", 3)]);
    assert_eq!(account.pending.egress.denied, 5);
    assert_eq!(hosts(&account.pending.egress), ["c ×1 :03", "a ×2 :03", "b ×1 :02"]);
}

#[test]
fn the_list_is_bounded_and_the_count_is_not() {
    let mut account = Account::default();
    for index in 0..1_000 {
        account.deny(&format!("{index}.{}", "x".repeat(1_000)), Reason::HostNotAllowed, at(0));
    }
    let egress = &account.pending.egress;
    assert_eq!((egress.denied, egress.last_denied.len()), (1_000, MAX_LAST_DENIED));
    assert!(egress.last_denied[0].host.starts_with("999."));
    assert!(egress.last_denied.iter().all(|denied| denied.host.len() == MAX_NAME));
}

#[test]
fn what_two_replicas_counted_adds_up() {
    let (first, second) = (denied(&[("a", 1), ("b", 5)]).pending, denied(&[("a", 3), ("c", 4)]).pending);
    let egress = Owned::default().with(&first).with(&second).egress.unwrap();
    assert_eq!(
        (egress.denied, hosts(&egress)),
        (4, vec!["b ×1 :05".into(), "c ×1 :04".into(), "a ×2 :03".into()])
    );
}

#[test]
fn what_could_not_be_written_is_put_back_before_what_came_since() {
    let mut account = denied(&[("a", 1), ("b", 2)]);
    account.isolate(Isolation { at: at(0), attempts: 120 });
    let unwritten = std::mem::take(&mut account.pending);
    account.deny("a", Reason::HostNotAllowed, at(3));
    account.restore(unwritten);
    assert_eq!(account.pending.egress.denied, 3);
    assert_eq!(hosts(&account.pending.egress), ["a ×2 :03", "b ×1 :02"]);
    assert_eq!(account.pending.isolated, Some(Isolation { at: at(0), attempts: 120 }));
}

#[test]
fn the_statement_of_an_agent_is_taken_once() {
    let mut account = Account::default();
    account.isolate(Isolation { at: at(1), attempts: 120 });
    account.isolate(Isolation { at: at(2), attempts: 0 });
    assert_eq!(std::mem::take(&mut account.pending).isolated, Some(Isolation { at: at(1), attempts: 120 }));
    account.isolate(Isolation { at: at(3), attempts: 0 });
    assert!(account.pending.is_empty());
}

#[test]
fn a_proof_that_is_recorded_stays() {
    let first = Owned::default()
        .with(&Pending { isolated: Some(Isolation { at: at(1), attempts: 120 }), ..Pending::default() });
    let again = Pending { isolated: Some(Isolation { at: at(2), attempts: 7 }), ..Pending::default() };
    assert_eq!(first.clone().with(&again), first);
}

#[test]
fn there_is_one_writer_and_it_stops_when_nothing_is_pending() {
    let mut account = Account::default();
    assert!(!account.engage_writer());
    account.deny("a", Reason::HostNotAllowed, at(1));
    assert!(account.engage_writer());
    assert!(!account.engage_writer());
    assert!(!account.release_writer());
    account.pending = Pending::default();
    assert!(account.release_writer());
    account.deny("a", Reason::HostNotAllowed, at(1));
    assert!(account.engage_writer());
}

#[test]
fn an_apply_holds_all_that_the_gateway_owns() {
    let mut account = denied(&[("telemetry.example", 5)]);
    account.isolate(Isolation { at: at(1), attempts: 120 });
    assert_eq!(
        Owned::default().with(&account.pending).to_apply(&identity(), "17"),
        json!({
            "apiVersion": "ws.dev/v1alpha1",
            "kind": "Workspace",
            "metadata": {"name": "fix-tests", "namespace": "team-a", "uid": "ws-uid", "resourceVersion": "17"},
            "status": {
                "conditions": [{
                    "type": "EgressEnforced",
                    "status": "True",
                    "reason": "Proven",
                    "message": "before it served anything, the pod failed in 120 attempts to reach what its network policy forbids",
                    "lastTransitionTime": "2026-11-21T08:00:01Z",
                }],
                "egress": {
                    "allowed": 0,
                    "denied": 1,
                    "uploadedBytes": 0, "reservedBytes": 0,
                    "lastDenied": [{"host": "telemetry.example", "count": 1, "at": "2026-11-21T08:00:05Z", "reason": "host-not-allowed"}],
                },
                "timings": {"isolated": "2026-11-21T08:00:01.123456Z"},
            },
        })
    );
}

#[test]
fn what_is_applied_is_read_back_the_same() {
    let mut account = denied(&[("telemetry.example", 5)]);
    account.isolate(Isolation { at: at(1), attempts: 120 });
    let owned = Owned::default().with(&account.pending);
    let mut stored = owned.to_apply(&identity(), "17");
    stored["spec"] = json!({"sshPublicKeys": []});
    stored["status"]["phase"] = "Starting".into();
    let workspace: Workspace = serde_json::from_value(stored).unwrap();
    assert_eq!(Seen::of(&workspace), Seen { resource_version: "17".into(), owned });
}
