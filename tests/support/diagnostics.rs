//! What a person needs to see of a cluster when a test failed.

use crate::lab::Lab;

/// Pods whose logs are shown: a test has few, a benchmark thousands.
const PODS: usize = 8;

/// States, events and logs of a namespace and of ws itself, on standard error.
#[expect(clippy::print_stderr, reason = "the output of a failed test")]
pub async fn print(lab: &Lab, namespace: &str) {
    let questions: [&[&str]; 6] = [
        &["-n", namespace, "get", "workspaces,pods,networkpolicies,secrets", "-o", "wide"],
        &[
            "-n",
            namespace,
            "get",
            "workspaces",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}: {.status}{\"\\n\"}{end}",
        ],
        &[
            "-n",
            namespace,
            "get",
            "pods",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}: {.status}{\"\\n\"}{end}",
        ],
        &["-n", namespace, "get", "events", "--sort-by=.metadata.creationTimestamp"],
        &["-n", lab.ws_namespace(), "get", "pods", "-o", "wide"],
        &[
            "-n",
            lab.ws_namespace(),
            "logs",
            "-l",
            "app.kubernetes.io/part-of=ws",
            "--all-containers",
            "--tail=40",
            "--prefix",
        ],
    ];
    eprintln!("---- namespace {namespace} after the failure");
    for question in questions {
        match lab.kubectl(question).await {
            Ok(answer) => eprintln!("$ {}\n{}{}", answer.command, answer.stdout, answer.stderr),
            Err(error) => eprintln!("{error:#}"),
        }
    }
    let Ok(pods) = lab.kubectl(&["-n", namespace, "get", "pods", "-o", "name"]).await else { return };
    for pod in pods.stdout.lines().take(PODS) {
        if let Ok(logs) = lab.kubectl(&["-n", namespace, "logs", "--tail=40", pod]).await {
            eprintln!("$ {}\n{}{}", logs.command, logs.stdout, logs.stderr);
        }
    }
}
