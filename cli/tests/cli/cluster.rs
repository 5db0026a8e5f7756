//! Refusals and failures of a cluster, each told in one sentence with a next step; and what is left behind by them.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    api::{Answer, Api},
    environment::{Environment, Outcome},
};

const COLLECTION: &str = "/apis/ws.dev/v1alpha1/namespaces/team/workspaces";
const CREATE: &str = "POST /apis/ws.dev/v1alpha1/namespaces/team/workspaces";
const READ: &str = "GET /apis/ws.dev/v1alpha1/namespaces/team/workspaces";
const WATCH: &str = "GET /apis/ws.dev/v1alpha1/namespaces/team/workspaces?&watch=true";
const DELETE: &str = "DELETE /apis/ws.dev/v1alpha1/namespaces/team/workspaces/fix";

fn workspace(status: &Value) -> Value {
    json!({
        "apiVersion": "ws.dev/v1alpha1", "kind": "Workspace",
        "metadata": {"name": "fix", "namespace": "team", "uid": "0b9e2d4c", "resourceVersion": "7",
            "creationTimestamp": "2026-11-20T10:00:00Z"},
        "spec": {"sshPublicKeys": ["ssh-ed25519 AAAA"]}, "status": status,
    })
}

fn failed(reason: &str, message: &str) -> Value {
    workspace(&json!({
        "phase": "Failed", "message": message,
        "conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-20T10:00:01Z"}],
    }))
}

/// What `ws` does with a cluster that gives these answers.
fn run(answers: Vec<Answer>, arguments: &[&str]) -> Outcome {
    Environment::with_server(&Api::start(answers).url).run(arguments)
}

#[test]
fn a_cluster_without_ws() {
    assert_snapshot!("no-ws-ls", run(vec![], &["ls"]));
    assert_snapshot!("no-ws-up", run(vec![], &["up"]));
    assert_snapshot!("no-ws-attach", run(vec![], &["attach", "fix"]));
}

#[test]
fn a_user_without_permission() {
    let message = "workspaces.ws.dev is forbidden: User \"eve\" cannot create resource \"workspaces\" in API group \"ws.dev\" in the namespace \"team\"";
    assert_snapshot!(run(vec![Answer::refusal(CREATE, 403, "Forbidden", message)], &["up"]));
}

#[test]
fn credentials_that_are_not_accepted() {
    assert_snapshot!(run(vec![Answer::refusal(READ, 401, "Unauthorized", "Unauthorized")], &["ls"]));
}

#[test]
fn a_name_that_is_taken() {
    let refusal = Answer::refusal(CREATE, 409, "AlreadyExists", "workspaces.ws.dev \"fix\" already exists");
    assert_snapshot!(run(vec![refusal], &["up", "--name", "fix"]));
}

#[test]
fn a_namespace_that_is_missing() {
    let refusal = Answer::refusal(CREATE, 404, "NotFound", "namespaces \"team\" not found");
    assert_snapshot!(run(vec![refusal], &["up"]));
}

#[test]
fn a_workspace_that_is_missing() {
    let refusal = Answer::refusal(READ, 404, "NotFound", "workspaces.ws.dev \"fix\" not found");
    assert_snapshot!(run(vec![refusal], &["describe", "fix"]));
}

#[test]
fn a_project_without_a_workspace() {
    assert_snapshot!(run(vec![], &["attach"]));
}

#[test]
fn a_workspace_that_fails_is_explained_and_destroyed() {
    let failure = failed(
        "ImageNotAllowed",
        "class default does not allow the image evil:1; it allows ghcr.io/ws-dev/workspace:1",
    );
    let api = Api::start(vec![
        Answer::new(CREATE, 201, workspace(&json!(null))),
        // A balancer whose server restarts.
        Answer::refusal(WATCH, 502, "", "502 Bad Gateway").once(),
        Answer::watch(
            WATCH,
            vec![
                json!({"type": "MODIFIED", "object": failure}),
                json!({"type": "DELETED", "object": failure}),
            ],
        ),
        Answer::new(DELETE, 200, failure.clone()),
    ]);
    let environment = Environment::with_server(&api.url);
    assert_snapshot!(environment.run(&["up", "--name", "fix", "--image", "evil:1"]));
    let deletions =
        api.requests().iter().filter(|request| **request == format!("DELETE {COLLECTION}/fix")).count();
    assert_eq!(deletions, 1, "{:?}", api.requests());
    let left: Vec<_> = environment.state().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_was_denied_at_last_is_said_and_the_last_line_sums_up() {
    let failure = failed("PodFailed", "its pod is gone");
    let mut last = failure.clone();
    last["status"]["className"] = json!("team");
    last["status"]["egress"] = json!({
        "allowed": 2, "denied": 1, "rules": [{"name": "model", "allowed": 2, "sentBytes": 4096}],
        "lastDenied": [{"host": "telemetry.example", "count": 1, "at": "2026-11-20T10:00:00Z", "reason": "host-not-allowed"}],
    });
    let api = Api::start(vec![
        Answer::new(CREATE, 201, workspace(&json!(null))),
        Answer::watch(
            WATCH,
            vec![json!({"type": "MODIFIED", "object": failure}), json!({"type": "DELETED", "object": last})],
        ),
        Answer::new(DELETE, 200, failure),
    ]);
    let outcome = Environment::with_server(&api.url).run(&["up", "--name", "fix"]);
    let said =
        "warning: telemetry.example denied: no rule names it · ask your admin or see `ws policy explain team`
fix is gone: its pod, its keys and everything in it
2 requests allowed (4.0 kB by model), 1 denied (telemetry.example 1×)
error: ";
    assert!(outcome.stderr.contains(said), "{outcome}");
}

#[test]
fn a_signal_while_the_workspace_starts_destroys_it() {
    // A terminal that is closed sends SIGHUP twice; those who supervise a process may send two different signals.
    for (signals, code) in [(["INT"].as_slice(), 130), (&["TERM"], 143), (&["HUP", "HUP"], 129)] {
        let api = starting();
        let environment = Environment::with_server(&api.url);
        let child = start(&environment);
        wait_for(&api, "GET");
        for signal in signals {
            send(&child, signal);
        }
        let outcome = environment.outcome(&child.wait_with_output().unwrap());
        assert_eq!(outcome.code, Some(code), "{signals:?}: {outcome}");
        assert!(outcome.stderr.contains("fix is gone"), "{signals:?}: {outcome}");
        assert_eq!(environment.state().read_dir().unwrap().count(), 0, "{signals:?}");
    }
}

#[test]
fn a_signal_that_is_ignored_from_the_start_stays_ignored() {
    let api = starting();
    let environment = Environment::with_server(&api.url);
    let child = spawn(environment.command_ignoring("HUP,INT", &environment.project(), UP));
    wait_for(&api, "GET");
    for signal in ["HUP", "INT"] {
        send(&child, signal);
    }
    // By then the end would have begun.
    sleep(Duration::from_millis(500));
    assert!(!api.requests().iter().any(|request| request.starts_with("DELETE")), "{:?}", api.requests());
    send(&child, "TERM");
    let outcome = environment.outcome(&child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(143), "{outcome}");
}

#[test]
fn whoever_insists_does_not_wait_for_the_end_but_the_workspace_is_deleted() {
    let starting = workspace(&json!({"phase": "Starting"}));
    let api = Api::start(vec![
        Answer::new(CREATE, 201, workspace(&json!(null))),
        Answer::watch(WATCH, vec![]),
        Answer::new(DELETE, 200, starting),
    ]);
    let environment = Environment::with_server(&api.url);
    let child = start(&environment);
    wait_for(&api, "GET");
    send(&child, "INT");
    wait_for(&api, "DELETE");
    // By then it is another wish.
    sleep(Duration::from_millis(1500));
    send(&child, "TERM");
    let outcome = environment.outcome(&child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert!(outcome.stderr.contains("workspace `fix` is being deleted"), "{outcome}");
}

#[test]
fn a_workspace_that_cannot_be_deleted_is_named() {
    let api = Api::start(vec![
        Answer::new(CREATE, 201, workspace(&json!(null))),
        Answer::watch(WATCH, vec![]),
        Answer::refusal(DELETE, 500, "InternalError", "no"),
    ]);
    let environment = Environment::with_server(&api.url);
    let child = start(&environment);
    wait_for(&api, "GET");
    send(&child, "INT");
    let outcome = environment.outcome(&child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert!(outcome.stderr.contains("workspace `fix` is left behind; `ws down fix` ends it"), "{outcome}");
}

/// A cluster on which a workspace goes on starting until it is deleted.
fn starting() -> Api {
    let starting = workspace(&json!({"phase": "Starting"}));
    let gone = vec![json!({"type": "DELETED", "object": starting})];
    Api::start(vec![
        Answer::new(CREATE, 201, workspace(&json!(null))),
        Answer::watch(WATCH, gone).after(DELETE),
        Answer::watch(WATCH, vec![]),
        Answer::new(DELETE, 200, starting.clone()),
    ])
}

const UP: &[&str] = &["up", "--name", "fix"];

fn start(environment: &Environment) -> Child {
    spawn(environment.command_in(&environment.project(), UP))
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait_for(api: &Api, method: &str) {
    while !api.requests().iter().any(|request| request.starts_with(method)) {
        sleep(Duration::from_millis(10));
    }
}

fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
}

#[test]
fn a_workspace_that_is_not_found_stays_remembered() {
    // It may be on another cluster that has the same URL at other times.
    let refusal = Answer::refusal(READ, 404, "NotFound", "workspaces.ws.dev \"fix\" not found");
    let api = Api::start(vec![refusal]);
    let environment = Environment::with_server(&api.url);
    let memory = environment.state().join("0b9e2d4c");
    fs::create_dir_all(&memory).unwrap();
    let record = json!({"name": "fix", "namespace": "team", "uid": "0b9e2d4c", "server": api.url});
    let project = environment.project().canonicalize().unwrap();
    for (name, content) in [
        ("record.json", record.to_string()),
        ("project", project.to_str().unwrap().to_owned()),
        ("key", "k".to_owned()),
        ("baseline", "b".to_owned()),
    ] {
        fs::write(memory.join(name), content).unwrap();
    }
    let outcome = environment.run(&["attach"]);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("there is no workspace"), "{outcome}");
    assert!(api.requests().contains(&format!("GET {COLLECTION}/fix")), "{:?}", api.requests());
    assert!(memory.join("key").exists() && memory.join("baseline").exists());
}

#[test]
fn hostile_text_of_a_cluster_is_shown_escaped() {
    let hostile = failed("Evil", "a\u{1b}]0;owned\u{7}\u{202e}b");
    let answers = vec![Answer::new(
        READ,
        200,
        json!({"kind": "WorkspaceList", "apiVersion": "ws.dev/v1alpha1",
        "metadata": {}, "items": [hostile]}),
    )];
    let list = run(answers, &["ls", "--json"]);
    assert!(!list.stdout.contains(['\u{1b}', '\u{202e}']), "{list}");
    let parsed: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(parsed[0]["message"], "a\u{1b}]0;owned\u{7}\u{202e}b");
    let description = run(vec![Answer::new(READ, 200, hostile)], &["describe", "fix"]);
    assert!(!description.stdout.contains(['\u{1b}', '\u{202e}']), "{description}");
    assert!(description.stdout.contains(r"a\x1b]0;owned\x07<U+202E>b"), "{description}");
}

#[test]
fn down_needs_a_yes_for_all() {
    let list = json!({"kind": "WorkspaceList", "apiVersion": "ws.dev/v1alpha1", "metadata": {},
        "items": [workspace(&json!(null))]});
    assert_snapshot!(run(vec![Answer::new(READ, 200, list)], &["down", "--all"]));
}

#[test]
fn a_workspace_of_another_machine_is_not_destroyed_with_its_changes() {
    let ready = workspace(&json!({"phase": "Ready"}));
    let api = Api::start(vec![Answer::new(READ, 200, ready)]);
    assert_snapshot!(Environment::with_server(&api.url).run(&["down", "fix"]));
    assert!(!api.requests().iter().any(|request| request.starts_with("DELETE")), "{:?}", api.requests());
}
