use http::StatusCode;
use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use kube::{
    core::DeserializeGuard,
    runtime::{reflector::store::Writer, watcher},
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use ws_api::workspace::Workspace;

use super::*;
use crate::testing::{
    cluster::{POLICY, SILENCE, Seen, apiserver, failure, names},
    given_a_pod, object, pod, workspace,
};

const REMOVE: &str = "DELETE /apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/ws-class-default";

fn scope(class: &str) -> Scope {
    Scope { namespace: "team-a".into(), class: class.parse().unwrap() }
}

fn desired() -> NetworkPolicy {
    class_policy("team-a", &"default".parse().unwrap(), "ws-system")
}

/// The policy as the API server stores it.
fn stored() -> NetworkPolicy {
    let mut policy = desired();
    policy.metadata.uid = Some("1".into());
    policy
}

/// The policy with a way out to everywhere.
fn widened() -> NetworkPolicy {
    let mut policy = stored();
    policy.spec.as_mut().unwrap().egress = Some(vec![NetworkPolicyEgressRule::default()]);
    policy
}

/// A namespace with a session of class `default` and these policies.
fn session(policies: Vec<NetworkPolicy>) -> Seen {
    let workspaces = vec![given_a_pod(workspace())];
    Seen { workspaces, pods: vec![pod("{phase: Running}")], policies, ..Seen::default() }
}

/// A namespace with nothing of ws but these policies.
fn abandoned(policies: Vec<NetworkPolicy>) -> Seen {
    Seen { workspaces: vec![], policies, ..Seen::default() }
}

fn keeper(client: Client, caches: Caches) -> (Keeper, mpsc::Receiver<WorkspaceRef>) {
    let (affected, breached) = mpsc::channel(8);
    let metrics = Metrics::register(&mut Registry::default());
    (Keeper::new(client, caches, "ws-system".into(), metrics, affected), breached)
}

/// What one look at class `default` asks of the API server, why its sessions end if they do, and how many.
async fn one_look(
    seen: Seen,
    refuse: impl Fn(&str) -> Option<(StatusCode, Value)> + Send + 'static,
) -> (Vec<String>, Option<Cause>, usize) {
    let (client, log) = apiserver(refuse);
    let (keeper, breached) = keeper(client, seen.caches());
    keeper.keep(&scope("default")).await;
    let breach = keeper.breach(&scope("default"));
    drop(keeper);
    let asked = log.await.unwrap();
    (names(&asked).into_iter().map(Into::into).collect(), breach, breached.len())
}

#[tokio::test]
async fn a_policy_that_is_gone_or_changed_is_repaired() {
    for policies in [vec![], vec![widened()]] {
        assert_eq!(one_look(session(policies), |_| None).await, (vec![POLICY.into()], None, 0));
    }
    assert_eq!(one_look(session(vec![stored()]), |_| None).await, (vec![], None, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_repaired_in_time_ends_its_sessions() {
    type Answer = fn() -> (StatusCode, Value);
    let answers: [(&str, Answer); 3] = [
        ("not yours", || failure(StatusCode::FORBIDDEN, "Forbidden", "not yours")),
        ("something changes it while it is written", || (StatusCode::OK, json!(widened()))),
        ("the API server does not answer", || (SILENCE, Value::Null)),
    ];
    for (why, answer) in answers {
        let started = Instant::now();
        let refuse = move |what: &str| (what == POLICY).then(answer);
        let (_, breach, sessions) = one_look(session(vec![]), refuse).await;
        let cause = breach.unwrap();
        assert!(cause.reason == Reason::PolicyNotKept && cause.message.contains(why), "{}", cause.message);
        assert_eq!(sessions, 1, "{why}");
        assert!(started.elapsed() <= REPAIR_WITHIN, "{why}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_breach_is_over_once_the_policy_is_right() {
    let (client, _log) = apiserver(|_| None);
    let (keeper, _breached) = keeper(client, session(vec![stored()]).caches());
    lock(&keeper.breaches).insert(scope("default"), Cause::new(Reason::PolicyNotKept, "m"));
    keeper.keep(&scope("default")).await;
    assert_eq!(keeper.breach(&scope("default")), None);
}

#[tokio::test]
async fn a_policy_is_written_before_its_first_pod_only_where_it_can_do_harm() {
    let waiting = |policies| Seen { policies, ..Seen::default() };
    assert_eq!(one_look(waiting(vec![]), |_| None).await, (vec![], None, 0));
    assert_eq!(one_look(waiting(vec![widened()]), |_| None).await, (vec![POLICY.into()], None, 0));
}

#[tokio::test]
async fn a_policy_of_ours_may_widen_another_class() {
    let mut other = class_policy("team-a", &"other".parse().unwrap(), "ws-system");
    other.spec = object("{podSelector: {}, policyTypes: [Egress], egress: [{}]}");
    let (client, _log) = apiserver(|_| None);
    let (keeper, breached) = keeper(client, session(vec![stored(), other.clone()]).caches());
    keeper.policy_touched(&other);
    let marked = std::mem::take(&mut *lock(&keeper.dirty));
    assert_eq!(marked, [scope("default"), scope("other")].into());
    for scope in &marked {
        keeper.keep(scope).await;
    }
    assert_eq!(keeper.breach(&scope("default")).unwrap().reason, Reason::PolicyWidened);
    assert_eq!(breached.len(), 1);
}

#[tokio::test]
async fn a_policy_that_nobody_needs_is_deleted_and_then_not_relied_on() {
    let (client, log) = apiserver(|_| None);
    let (keeper, _breached) = keeper(client, abandoned(vec![stored()]).caches());
    keeper.keep(&scope("default")).await;
    // The cache still shows it.
    keeper.keep(&scope("default")).await;
    keeper.ensure(&scope("default"), &desired()).await.unwrap();
    drop(keeper);
    let asked = log.await.unwrap();
    assert_eq!(names(&asked), [REMOVE, POLICY]);
    assert_eq!(asked[0].1["preconditions"]["uid"], "1");
}

#[tokio::test]
async fn a_policy_that_is_needed_while_its_lock_is_waited_for_stays() {
    let (client, log) = apiserver(|_| None);
    let mut caches = abandoned(vec![stored()]).caches();
    let mut workspaces = Writer::<DeserializeGuard<Workspace>>::default();
    caches.workspaces = workspaces.as_reader();
    let (keeper, _breached) = keeper(client, caches);
    let (default, slot) = (scope("default"), keeper.slot(&scope("default")));
    let held = slot.lock().await;
    let arrives = async {
        workspaces.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(workspace()))));
        drop(held);
    };
    tokio::join!(keeper.keep(&default), arrives);
    drop(keeper);
    assert!(log.await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_a_policy_that_is_not_answered_but_holds_up_no_repair() {
    let (client, _log) = apiserver(|_| Some((SILENCE, Value::Null)));
    let (keeper, _breached) = keeper(client, Seen::default().caches());
    let started = Instant::now();
    let cause = keeper.ensure(&scope("default"), &desired()).await.unwrap_err();
    assert_eq!(cause.reason, Reason::PolicyNotApplied);
    assert_eq!(started.elapsed(), ENSURE_WITHIN);
}
