//! What a user is told of a class before anything is sent: its rules in full, and of a request what becomes of it.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ws_tests::class::reading;

use crate::way_out::with_rules;

/// Requests, each with the rule that allows it.
const REQUESTS: [(&str, &str, Option<&str>); 8] = [
    ("GET", "https://docs.example/", Some("docs")),
    ("POST", "https://docs.example/", None),
    ("GET", "http://docs.example/", None),
    ("GET", "https://docs.example:8443/", None),
    ("GET", "https://hidden.example/", None),
    ("GET", "https://20.0.114.80/", None),
    ("GET", "https://npm.example/ws-sample", Some("npm")),
    ("PUT", "https://npm.example/ws-sample", None),
];

#[tokio::test]
#[ignore = "needs the lab"]
async fn what_is_said_of_a_class_in_the_cluster_is_what_its_gateway_does() -> Result<()> {
    let rules = json!([reading("docs", &["docs.example"]), {"name": "npm", "preset": "npm", "hosts": ["npm.example"]}]);
    with_rules(rules, async |out| {
        let class = out.class.as_str();
        let preset = out.ws.run(&["presets", "npm"]).await?.ok()?;
        let preset: Value = serde_yaml::from_str(&preset.stdout)?;
        let explained = out.ws.run(&["policy", "explain", class]).await?.ok()?;
        let rules: Value = serde_yaml::from_str(&explained.stdout)?;
        let npm = &rules["rules"][1];
        ensure!(npm["hosts"] == json!(["npm.example"]) && npm["ports"] == json!([443]), "{explained}");
        for member in ["allow", "budget"] {
            ensure!(preset[member].is_object() || preset[member].is_array(), "{preset}");
            ensure!(npm[member] == preset[member], "{member}: {explained}");
        }
        let json = out.ws.run(&["policy", "explain", class, "--json"]).await?.ok()?;
        let json: Value = serde_json::from_str(&json.stdout)?;
        ensure!(json["class"] == class && json["rules"] == rules["rules"], "{json}");

        for (method, url, rule) in REQUESTS {
            let told = out.ws.run(&["policy", "test", class, method, url]).await?;
            let told = told.code(if rule.is_some() { 0 } else { 3 })?;
            let line = format!("curl -sS -i -w '%{{http_code}}' --max-time 20 -X {method} {url}; true");
            let sent = out.bash(&line).await?.ok()?;
            let is_refused = sent.stdout.contains("x-ws-denied: ");
            let is_so = match rule {
                Some(rule) => {
                    told.stdout == format!("allowed by rule \"{rule}\"\n") && sent.stdout.ends_with("200")
                }
                None => told.stdout.contains(" denied: ") && is_refused,
            };
            ensure!(is_so && is_refused == rule.is_none(), "{told} {sent}");
        }
        let unknown =
            out.ws.run(&["policy", "test", "no-such-class", "GET", "https://docs.example/"]).await?;
        unknown.is_a_clear_refusal(&["no-such-class"])
    })
    .await
}
