use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;

use super::*;

const FIRST: &str = "10.244.0.5";
const SECOND: &str = "10.244.0.6";

fn pod(uid: &str, second: u8, addresses: &[&str]) -> Pod {
    let addresses: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    serde_json::from_value(json!({
        "metadata": {
            "name": "w", "namespace": "team-a", "uid": uid, "creationTimestamp": format!("2026-11-21T08:00:{second:02}Z"),
            "labels": {"ws.dev/class": "default", "app.kubernetes.io/managed-by": "ws"},
            "ownerReferences": [{"apiVersion": "ws.dev/v1alpha1", "kind": "Workspace", "name": "w", "uid": format!("of-{uid}"), "controller": true}],
        },
        "spec": {"containers": []},
        "status": {"phase": "Running", "podIPs": addresses},
    }))
    .unwrap()
}

fn observed(uid: &str, second: u8, addresses: &[&str]) -> Observed {
    Observed::of(&pod(uid, second, addresses)).unwrap()
}

fn at(sessions: &Sessions, address: &str) -> Option<String> {
    sessions.at(address.parse().unwrap()).map(|session| session.identity().pod_uid.clone())
}

#[test]
fn a_pod_is_reduced_to_its_identity() {
    assert_eq!(
        observed("a", 7, &[FIRST, "fd00::5"]),
        Observed {
            identity: Identity {
                namespace: "team-a".into(),
                workspace: "w".parse().unwrap(),
                workspace_uid: "of-a".into(),
                class: "default".parse().unwrap(),
                pod_uid: "a".into(),
                created: "2026-11-21T08:00:07Z".parse().unwrap(),
            },
            addresses: vec![FIRST.parse().unwrap(), "fd00::5".parse().unwrap()],
            is_ending: false,
        }
    );
}

#[test]
fn a_pod_that_is_being_deleted_is_still_there_and_said_to_end() {
    let mut pod = pod("a", 7, &[FIRST]);
    pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
    let ending = Observed::of(&pod).unwrap();
    assert!(ending.is_ending);
    let mut sessions = Sessions::default();
    sessions.insert(observed("a", 7, &[FIRST]));
    sessions.insert(ending);
    let session = sessions.at(FIRST.parse().unwrap()).unwrap();
    assert!(!session.account().pace.end(), "it is known");
}

#[test]
fn only_running_pods_of_workspaces_with_their_own_address_count() {
    type Break = fn(&mut Pod);
    let breaks: [(&str, Break); 11] = [
        ("no address yet", |pod| pod.status.as_mut().unwrap().pod_ips = None),
        ("no address that can be read", |pod| {
            pod.status.as_mut().unwrap().pod_ips.as_mut().unwrap()[0].ip = "10.0.0".into();
        }),
        ("ended well", |pod| pod.status.as_mut().unwrap().phase = Some("Succeeded".into())),
        ("ended badly", |pod| pod.status.as_mut().unwrap().phase = Some("Failed".into())),
        ("on the node's network", |pod| pod.spec.as_mut().unwrap().host_network = Some(true)),
        ("no owner", |pod| pod.metadata.owner_references = None),
        ("another kind of owner", |pod| pod.owner_references_mut()[0].kind = "Job".into()),
        ("another group's Workspace", |pod| {
            pod.owner_references_mut()[0].api_version = "ws.dev.example/v1".into();
        }),
        ("not the controller", |pod| pod.owner_references_mut()[0].controller = None),
        ("a workspace that cannot be", |pod| pod.owner_references_mut()[0].name = "W\n".into()),
        ("no class", |pod| pod.labels_mut().clear()),
    ];
    for (why, break_it) in breaks {
        let mut pod = pod("a", 0, &[FIRST]);
        break_it(&mut pod);
        assert_eq!(Observed::of(&pod), None, "{why}");
    }
}

#[test]
fn a_session_is_found_at_each_of_its_addresses() {
    let mut sessions = Sessions::default();
    sessions.insert(observed("a", 0, &[FIRST, "fd00::5"]));
    for address in [FIRST, "fd00::5", "::ffff:10.244.0.5"] {
        assert_eq!(at(&sessions, address).as_deref(), Some("a"), "{address}");
    }
    assert_eq!(at(&sessions, SECOND), None);
}

#[test]
fn of_two_pods_at_an_address_the_younger_wins_in_any_order() {
    for order in [[("old", 1), ("young", 2)], [("young", 2), ("old", 1)]] {
        let mut sessions = Sessions::default();
        for (uid, second) in order {
            sessions.insert(observed(uid, second, &[FIRST]));
        }
        assert_eq!(at(&sessions, FIRST).as_deref(), Some("young"));
        sessions.remove("young");
        assert_eq!(at(&sessions, FIRST).as_deref(), Some("old"));
        sessions.remove("old");
        assert_eq!(at(&sessions, FIRST), None);
        assert!(sessions.is_empty() && sessions.by_address.is_empty());
    }
}

#[test]
fn a_pod_keeps_its_session_when_it_changes() {
    let mut sessions = Sessions::default();
    sessions.insert(observed("a", 0, &[FIRST]));
    let before = sessions.at(FIRST.parse().unwrap()).unwrap().clone();
    sessions.insert(observed("a", 0, &[FIRST, SECOND]));
    sessions.insert(observed("a", 0, &[SECOND]));
    assert_eq!(at(&sessions, FIRST), None);
    assert!(Arc::ptr_eq(&before, sessions.at(SECOND.parse().unwrap()).unwrap()));
}

#[test]
fn a_new_list_drops_what_it_lacks_and_keeps_the_rest() {
    let mut sessions = Sessions::default();
    sessions.replace(vec![observed("a", 0, &[FIRST]), observed("b", 0, &[SECOND])]);
    let kept = sessions.at(SECOND.parse().unwrap()).unwrap().clone();
    sessions.replace(vec![observed("b", 0, &[SECOND]), observed("c", 1, &[FIRST])]);
    assert_eq!((at(&sessions, FIRST).as_deref(), sessions.len()), (Some("c"), 2));
    assert!(Arc::ptr_eq(&kept, sessions.at(SECOND.parse().unwrap()).unwrap()));
    assert!(!sessions.contains(&observed("a", 0, &[FIRST]).identity));
}
