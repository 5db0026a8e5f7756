//! Nanoseconds of one decision, with a class of as many rules as one may have.

use std::{hint::black_box, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_api::egress::Egress;
use ws_policy::{
    class::{ClassPolicy, Policy},
    decide::decide,
    request::{Length, Request},
};

use crate::report::{Bar, Report, Samples};

const ROUNDS: usize = 5;
const DECISIONS: u32 = 1_000_000;

/// Rules as a company would write them: 4 model providers, 5 kinds of packages, a forge, 54 hosts with four allowances each.
pub(super) fn rules() -> Vec<Value> {
    let models =
        ["anthropic", "openai", "google", "openrouter"].map(|name| json!({"name": name, "preset": name}));
    let packages = ["cargo", "npm", "pypi", "go", "debian"].map(|name| {
        json!({"name": name, "preset": name, "hosts": [format!("{name}.mirror.example"), format!("{name}.example")]})
    });
    let forge = json!({"name": "forge", "preset": "github", "repositories": ["acme/app", "acme/library", "acme/tool"]});
    let own = (0..54).map(|number| {
        json!({
            "name": format!("service-{number}"),
            "hosts": [format!("service-{number}.example"), format!("api-{number}.example")],
            "allow": [
                {"methods": ["GET", "HEAD"], "paths": ["/docs/**", "/assets/**", "/"], "query": ["page", "q"]},
                {"methods": ["GET"], "paths": ["/v1/projects/{project}/items/{item}", "/v1/projects/{project}"]},
                {"methods": ["POST"], "paths": ["/v1/projects/{project}/items"], "body": {"max": "64Ki"}},
                {"methods": ["PUT"], "paths": ["/v1/files/**"], "headers": [{"name": "if-match"}], "body": {"max": "8Mi"}},
            ],
        })
    });
    models.into_iter().chain(packages).chain([forge]).chain(own).collect()
}

pub(super) fn measure(report: &mut Report) -> Result<()> {
    let egress: Egress = serde_json::from_value(json!({"rules": rules(), "budget": {"upload": "256Mi"}}))?;
    let class = "large".parse().ok().context("a name of a class")?;
    let compiled = ClassPolicy::compile(class, &egress);
    let class = compiled.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    ensure!(class.rules().count() == 64, "{} rules", class.rules().count());
    let policy = Policy::of(class.into(), None);
    for (what, method, url, is_allowed) in [
        ("allowed", "PUT", "https://api-53.example/v1/files/reports/2026/11/22.json", true),
        ("allowed until its body is seen", "POST", "https://api.anthropic.com/v1/messages", true),
        ("denied, a path that no rule allows", "GET", "https://api-53.example/v2/projects/7/items/8", false),
        ("denied, a host that no rule names", "POST", "https://telemetry.example/collect", false),
    ] {
        let body = if method == "GET" { Length::None } else { Length::Bytes(512) };
        let request = Request::absolute(method.parse()?, &url.parse()?, body)?;
        ensure!(
            decide(&policy, &request).is_ok() == is_allowed,
            "{method} {url}: {:?}",
            decide(&policy, &request)
        );
        let mut nanoseconds = Samples::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..DECISIONS {
                drop(black_box(decide(black_box(&policy), black_box(&request))));
            }
            nanoseconds.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(DECISIONS));
        }
        report.samples(
            &format!("decision by 64 rules, {what}"),
            "ns",
            &nanoseconds,
            Some(Bar::AtMost(2_000.0)),
        );
    }
    Ok(())
}
