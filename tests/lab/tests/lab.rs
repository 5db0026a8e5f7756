//! The lab itself, for real: it comes up, runs pods, and leaves nothing behind, however it ended.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// There is one lab on a machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// The machine without a lab, and what it looked like.
struct Machine {
    before: BTreeSet<String>,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    fn take() -> Self {
        let alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        expect_success(&lab(&["down"]));
        Self { before: traces(), _alone: alone }
    }

    fn expect_no_trace(&self) {
        let after = traces();
        let new: Vec<_> = after.difference(&self.before).collect();
        let lost: Vec<_> = self.before.difference(&after).collect();
        assert!(new.is_empty() && lost.is_empty(), "left behind: {new:#?}\nlost: {lost:#?}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // After a failed assertion, too.
        lab(&["down"]);
    }
}

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap()
}

fn expect_success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn status() -> Value {
    serde_json::from_slice(&lab(&["status", "--json"]).stdout).unwrap()
}

fn kubectl(arguments: &[&str]) -> Output {
    let status = status();
    let program = Path::new(status["binaries"].as_str().unwrap()).join("kubectl");
    Command::new(program)
        .env("KUBECONFIG", status["kubeconfig"].as_str().unwrap())
        .args(arguments)
        .output()
        .unwrap()
}

/// Everything that a lab could leave on the machine, as lines that can be compared.
fn traces() -> BTreeSet<String> {
    let mut traces = BTreeSet::new();
    let mut note = |kind: &str, text: String| {
        traces.extend(text.lines().map(|line| format!("{kind}: {line}")));
    };
    for (kind, program, arguments) in [
        ("namespace", "ip", vec!["netns", "list"]),
        ("route", "ip", vec!["route"]),
        ("link", "ip", vec!["-brief", "link"]),
        ("rules", "nft", vec!["list", "ruleset"]),
    ] {
        note(
            kind,
            String::from_utf8(Command::new(program).args(arguments).output().unwrap().stdout).unwrap(),
        );
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    // Not those of an image build, which may run at the same time.
    let folders = ["/run/ws-lab", "/var/lib/ws-lab", "/ws-lab/containerd"];
    let ours = mounts.lines().filter(|line| folders.iter().any(|folder| line.contains(folder)));
    note("mount", ours.collect::<Vec<_>>().join("\n"));
    for key in ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"] {
        note(key, fs::read_to_string(Path::new("/proc/sys").join(key)).unwrap());
    }
    for folder in
        ["/run", "/var/lib", "/var/log", "/sys/fs/cgroup", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"]
    {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        note(folder, entries.map(|entry| entry.file_name().to_string_lossy().into_owned() + "\n").collect());
    }
    note("process", processes());
    traces
}

/// Command lines of running processes that name a folder which only lives as long as a lab.
fn processes() -> String {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains("/run/ws-lab"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[track_caller]
fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn run_pod(name: &str) {
    let image = "--image=localhost/ws-lab/pause:1";
    expect_success(&kubectl(&["run", name, image, "--image-pull-policy=Never"]));
    expect_success(&kubectl(&["wait", "--for=condition=Ready", "--timeout=30s", &format!("pod/{name}")]));
}

#[test]
#[ignore = "needs root, and takes the machine's only lab"]
fn a_lab_runs_pods_and_leaves_no_trace() {
    let machine = Machine::take();
    let began = Instant::now();
    expect_success(&lab(&["up"]));
    let up = began.elapsed();
    run_pod("a");
    let dns = "jsonpath={.items[0].status.containerStatuses[0].ready}";
    let ask = ["get", "pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns", "--output", dns];
    eventually("the cluster's DNS is ready", || kubectl(&ask).stdout == b"true");
    let status = status();
    assert_eq!(status["ready"], true);
    let memory = status["memoryMebibytes"].as_u64().unwrap();

    let began = Instant::now();
    expect_success(&lab(&["down"]));
    let down = began.elapsed();
    machine.expect_no_trace();
    let figures = format!("up {up:.1?}, down {down:.1?}, {memory} MiB");
    assert!(up < Duration::from_secs(8) && down < Duration::from_secs(4) && memory <= 900, "{figures}");
    writeln!(io::stderr(), "{figures}").unwrap();
}

#[test]
#[ignore = "needs root, and takes the machine's only lab"]
fn a_crashed_lab_is_cleaned_up_by_the_next() {
    let machine = Machine::take();
    expect_success(&lab(&["up"]));
    run_pod("a");
    // The kubelet, so that nobody restarts what dies next; then everything of the lab, shims of running pods excepted.
    let components = status()["components"].clone();
    for name in ["kubelet"].into_iter().chain(components.as_object().unwrap().keys().map(String::as_str)) {
        let pid = components[name]["pid"].to_string();
        // The kubelet comes twice.
        drop(Command::new("kill").args(["-KILL", &pid]).output().unwrap());
    }
    assert_eq!(status()["ready"], false);

    expect_success(&lab(&["up"]));
    assert_eq!(status()["ready"], true);
    assert!(!kubectl(&["get", "pod", "a"]).status.success(), "the new cluster knows a pod of the old one");
    run_pod("b");
    expect_success(&lab(&["down"]));
    machine.expect_no_trace();
}

#[test]
#[ignore = "needs root, and takes the machine's only lab"]
fn a_start_that_was_killed_half_way_is_taken_down() {
    let machine = Machine::take();
    for delay in [50, 200, 600, 1500] {
        let mut start = Command::new(env!("CARGO_BIN_EXE_lab")).arg("up").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        start.kill().unwrap();
        start.wait().unwrap();
        expect_success(&lab(&["down"]));
        machine.expect_no_trace();
    }
}

#[test]
#[ignore = "needs root, and takes the machine's only lab"]
fn a_failed_start_shows_what_the_component_said_and_leaves_no_trace() {
    let machine = Machine::take();
    let start = Command::new(env!("CARGO_BIN_EXE_lab")).arg("up").stderr(Stdio::piped()).spawn().unwrap();
    let mut pid = Value::Null;
    eventually("the API server runs", || {
        pid = status()["components"]["kube-apiserver"]["pid"].clone();
        pid.is_number()
    });
    expect_success(&Command::new("kill").args(["-KILL", &pid.to_string()]).output().unwrap());
    let failed = start.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && said.contains("kube-apiserver ended; its last lines:\n"), "{said}");
    machine.expect_no_trace();
}

#[test]
#[ignore = "needs root, and takes the machine's only lab"]
fn two_starts_at_once_make_one_lab() {
    let _machine = Machine::take();
    let start = || Command::new(env!("CARGO_BIN_EXE_lab")).arg("up").stderr(Stdio::piped()).spawn().unwrap();
    let said = [start(), start()].map(|start| {
        let output = start.wait_with_output().unwrap();
        expect_success(&output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    let late = said.iter().filter(|said| said.contains("the lab is up already")).count();
    assert_eq!(late, 1, "{said:?}");
    assert_eq!(status()["ready"], true);
}

#[test]
#[ignore = "needs root, and takes the machine's only lab"]
fn every_address_behind_the_node_answers_and_writes_down_what_it_got() {
    let _machine = Machine::take();
    expect_success(&lab(&["up", "--enforcer", "off"]));
    for (place, address) in [
        ("internet", "20.0.113.66"),
        ("internet", "44.0.113.1"),
        ("internet", "[2600:db8:1::7]"),
        ("company", "10.77.0.10"),
        ("metadata", "169.254.169.254"),
        ("metadata", "169.254.20.10"),
        ("metadata", "100.100.100.200"),
    ] {
        let canary = format!("canary{}", address.replace(|c: char| !c.is_ascii_alphanumeric(), ""));
        let url = format!("http://{address}/{canary}");
        let curl = ["exec", "ws-node", "--", "curl", "--globoff", "--silent", "--max-time", "5", &url];
        assert_eq!(expect_success(&lab(&curl)), format!("ws-lab {place}\n"), "{address}");
        let hex = canary.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let log = fs::read_to_string(status()["sinks"].as_str().unwrap()).unwrap();
        assert!(log.lines().any(|line| line.contains(place) && line.contains(&hex)), "{address}");
    }
    let elsewhere = ["exec", "ws-node", "--", "curl", "--silent", "--max-time", "2", "http://203.0.113.80/"];
    assert!(!lab(&elsewhere).status.success(), "the node has a way out of the machine");
}

#[test]
#[ignore = "needs root, and takes the machine's only lab"]
fn asking_for_another_enforcement_restarts_the_lab() {
    let _machine = Machine::take();
    for mode in ["off", "slow:500", "on"] {
        expect_success(&lab(&["up", "--enforcer", mode]));
        let status = status();
        assert_eq!(status["enforcement"], mode);
        assert_eq!(status["components"].get("enforcer").is_some(), mode != "off");
    }
}
