//! What needs no cluster, and what is said where none can be reached.

use std::{fs, io::pipe, net::TcpListener, path::Path};

use insta::assert_snapshot;

use crate::environment::{Environment, Outcome};

#[test]
fn help_of_every_command() {
    let environment = Environment::new();
    for command in [
        "",
        "up",
        "run",
        "attach",
        "ls",
        "describe",
        "diff",
        "pull",
        "down",
        "egress",
        "policy",
        "policy explain",
        "policy test",
        "presets",
        "completions",
        "version",
    ] {
        let name = if command.is_empty() { "help".to_owned() } else { command.replace(' ', "-") };
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        assert_snapshot!(format!("help-{name}"), environment.run(&arguments));
    }
}

#[test]
fn presets_are_listed_and_shown_as_a_rule_would_write_them() {
    let environment = Environment::new();
    assert_snapshot!("presets", environment.run(&["presets"]));
    assert_snapshot!("presets-npm", environment.run(&["presets", "npm"]));
    assert_snapshot!("presets-missing", environment.run(&["presets", "no-such-preset"]));
}

#[test]
fn a_class_is_explained_in_full_with_what_is_risky_about_it() {
    let environment = Environment::new();
    let class = "
apiVersion: ws.dev/v1alpha1
kind: WorkspaceClass
metadata: {name: team}
spec:
  image: workspace
  egress:
    budget: {upload: 64Mi}
    rules:
    - {name: code, preset: github, repositories: [acme/shop, acme/tools], credential: {secretName: git, key: token}}
    - name: issues
      hosts: [api.github.com]
      allow: [{methods: [POST], paths: ['/repos/{owner}/{name}/issues'], body: {max: 64Ki}}]
    - {name: vpn, hosts: [vpn.example], passthrough: {acknowledged: uninspected}, budget: {upload: 1Mi}}
";
    fs::write(environment.project().join("class.yaml"), class).unwrap();
    assert_snapshot!(environment.run(&["policy", "explain", "team", "-f", "class.yaml"]));
}

#[test]
fn a_request_is_judged_by_the_lockfiles_of_the_project_it_is_tried_in() {
    let environment = Environment::new();
    let class = "
apiVersion: ws.dev/v1alpha1
kind: WorkspaceClass
metadata: {name: team}
spec:
  image: workspace
  egress:
    rules:
    - {name: crates, preset: cargo, hosts: [crates.example], packages: {fromLockfiles: cargo}}
";
    fs::write(environment.home().join("class.yaml"), class).unwrap();
    let test = |folder: &Path, package: &str| {
        let url = format!("https://crates.example/se/rd/{package}");
        let file = environment.home().join("class.yaml");
        let arguments = ["policy", "test", "team", "GET", &url, "-f", file.to_str().unwrap()];
        environment.outcome(&environment.command_in(folder, &arguments).output().unwrap())
    };
    let project = environment.project();
    let denied =
        |outcome: &Outcome| outcome.code == Some(3) && outcome.stdout.contains("does not name package");
    let before = test(&project, "serde");
    assert!(denied(&before), "{before}");
    let lockfile = "[[package]]\nname = \"serde\"\nsource = \"registry+https://index.example\"\n";
    fs::write(project.join("Cargo.lock"), lockfile).unwrap();
    let named = test(&project, "serde");
    assert_eq!((named.code, named.stdout.as_str()), (Some(0), "allowed by rule \"crates\"\n"), "{named}");
    let other = test(&project, "serdf");
    assert!(denied(&other), "{other}");
    // No workspace is made of a home folder, so its lockfile is nobody's.
    fs::write(environment.home().join("Cargo.lock"), lockfile).unwrap();
    let home = test(&environment.home(), "serde");
    assert!(denied(&home), "{home}");
}

/// Which is not the exit code of a denied request: a test that a class denies something fails where there is no such class.
#[test]
fn what_is_wrong_with_a_class_is_told_with_its_place() {
    let environment = Environment::new();
    let class = "
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: ws.dev/v1alpha1
kind: WorkspaceClass
metadata: {name: team}
spec:
  image: workspace
  egress:
    rules:
    - {name: model, preset: anthropic, credential: {secret: anthropic}}
";
    fs::write(environment.project().join("class.yaml"), class).unwrap();
    let test = ["policy", "test", "team", "GET", "https://docs.example/", "-f", "class.yaml"];
    assert_snapshot!(environment.run(&test));
}

#[test]
fn mistakes_on_the_command_line_exit_with_two() {
    let environment = Environment::new();
    let table: &[&[&str]] = &[
        &[],
        &["fly"],
        &["up", "--lifetime", "1 day"],
        &["up", "--name", "Not_a_name"],
        &["run"],
        &["up", "--agent", ""],
        &["up", "--agent", "claude", "--detach"],
        &["up", "--", "-p", "fix the test"],
        &["down", "--all", "name"],
        &["-q", "-v", "ls"],
    ];
    for arguments in table {
        let outcome = environment.run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome}");
    }
    assert_snapshot!(environment.run(&["up", "--lifetime", "1 day"]));
}

#[test]
fn no_kubeconfig() {
    let environment = Environment::new();
    assert_snapshot!("no-kubeconfig", environment.run(&["ls"]));
    assert_snapshot!("named-kubeconfig-missing", environment.run(&["ls", "--kubeconfig", "nowhere"]));
}

#[test]
fn a_kubeconfig_that_is_none() {
    let environment = Environment::new();
    fs::write(environment.project().join("config"), "clusters: 7\n").unwrap();
    let outcome = environment.run(&["ls", "--kubeconfig", "config"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.starts_with("error: the kubeconfig cannot be used: "), "{outcome}");
}

#[test]
fn a_namespace_that_cannot_be() {
    let environment = Environment::with_server("http://127.0.0.1:1");
    for namespace in ["Bad NS", "-a", "", "a/b", &"a".repeat(64)] {
        let outcome = environment.run(&["ls", &format!("--namespace={namespace}")]);
        assert_eq!(outcome.code, Some(1), "{namespace}: {outcome}");
        let message = format!("error: `{namespace}` cannot be the name of a namespace");
        assert!(outcome.stderr.starts_with(&message), "{outcome}");
    }
}

#[test]
fn a_context_that_is_missing() {
    let environment = Environment::with_server("http://127.0.0.1:1");
    assert_snapshot!(environment.run(&["ls", "--context", "there"]));
}

#[test]
fn a_cluster_that_cannot_be_reached() {
    // A port that was free a moment ago refuses connections.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let environment = Environment::with_server(&format!("http://127.0.0.1:{port}"));
    assert_snapshot!(environment.run(&["ls"]));
    assert_snapshot!("unreachable-up", environment.run(&["up", "--detach"]));
}

#[test]
fn errors_are_json_if_json_is_asked_for() {
    assert_snapshot!(Environment::new().run(&["ls", "--json"]));
}

#[test]
fn a_home_folder_is_no_project() {
    let environment = Environment::with_server("http://127.0.0.1:1");
    let output = environment.command_in(&environment.home(), &["up"]).output().unwrap();
    assert_snapshot!(environment.outcome(&output));
}

#[test]
fn a_project_that_is_missing_or_a_file() {
    let environment = Environment::with_server("http://127.0.0.1:1");
    assert_snapshot!("project-missing", environment.run(&["up", "missing"]));
    assert_snapshot!("project-file", environment.run(&["up", "file.txt"]));
}

#[test]
fn completions_for_every_shell() {
    let environment = Environment::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = environment.run(&["completions", shell]);
        assert!(outcome.code == Some(0) && outcome.stderr.is_empty(), "{outcome}");
        assert!(outcome.stdout.contains("describe"), "{shell}");
    }
}

#[test]
fn the_version() {
    let environment = Environment::new();
    assert_eq!(
        environment.run(&["version"]).stdout,
        concat!("ws ", env!("CARGO_PKG_VERSION"), " (ws.dev/v1alpha1)\n")
    );
    let json: serde_json::Value =
        serde_json::from_str(&environment.run(&["version", "--json"]).stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let environment = Environment::new();
    let mut command = environment.command_in(&environment.project(), &["completions", "bash"]);
    // Like `head -0`: nobody reads from the beginning, so that it does not depend on who is faster.
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let outcome = environment.outcome(&command.stdout(writer).output().unwrap());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(141), ""));
}

#[test]
fn no_colour_reaches_a_pipe_or_no_color() {
    let environment = Environment::new();
    let mut command = environment.command_in(&environment.project(), &["ls"]);
    let outcome = environment.outcome(&command.env("NO_COLOR", "1").env("TERM", "xterm").output().unwrap());
    assert!(!outcome.stderr.contains('\u{1b}') && !outcome.stdout.contains('\u{1b}'), "{outcome}");
}
