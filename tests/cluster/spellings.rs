//! Red team, group B: hosts and paths in spellings that two programs may read differently (B04, B08, B09).

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    class::reading,
    corpus,
    probe::canary,
    raw::{Hello, Vector, answers},
    spelling,
};

use crate::{
    audited::{each_refusal_is_told, these_alone_are_told},
    way_out::{Out, with_rules},
};

const ALLOWED: &str = "docs.example";
const DENIED: &str = "hidden.example";
/// Why a host is refused, in whatever spelling, or what of a request some spellings make of it.
const OF_HOSTS: [&str; 8] = [
    "host-not-allowed",
    "ip-literal",
    "malformed",
    "misdirected",
    "not-tls",
    "port-not-allowed",
    "query-not-allowed",
    "scheme-not-allowed",
];

/// The ways in which a client names a host.
fn vectors(host: &str, path: &str) -> [Vector; 5] {
    let get = |target: &str, host: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    let with_port = if host.rsplit(':').next().is_some_and(|port| port.parse::<u32>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:443")
    };
    [
        Vector::plain(format!(
            "CONNECT {with_port} HTTP/1.1\r\nHost: {with_port}\r\n\r\n{}",
            get(path, host)
        )),
        Vector::plain(get(&format!("https://{host}{path}"), host)),
        Vector::plain(get(&format!("http://{host}{path}"), ALLOWED)),
        Vector::plain(get(path, host)),
        Vector::within(ALLOWED, get(path, host)),
    ]
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b08_a_host_in_no_spelling_is_another_than_the_allowed_one() -> Result<()> {
    // So few that all that is decided on them is kept.
    const AT_ONCE: usize = 40;
    with_rules(json!([reading("docs", &[ALLOWED])]), async |out| {
        let canary = canary()?;
        let hosts = corpus::hosts(ALLOWED, DENIED);
        let path = format!("/{canary}");
        for hosts in hosts.chunks(AT_ONCE) {
            let vectors: Vec<Vector> = hosts.iter().flat_map(|host| vectors(host, &path)).collect();
            let answers = answers(&out.ws, "out", &vectors).await?;
            for (index, answer) in answers.iter().enumerate() {
                let (host, way) = (&hosts[index / 5], index % 5);
                // A fragment is no part of a request (RFC 9110 §7.1): what is left is the allowed host's own page.
                let is_page = way == 1 && host.starts_with("docs.example#");
                let status = answer.status();
                let is_refused = is_page || status.is_none_or(|status| (400..500).contains(&status));
                ensure!(is_refused, "{host:?} in way {way}: {answer}");
                let is_for_its_host = answer.reasons().all(|reason| OF_HOSTS.contains(&reason));
                ensure!(is_for_its_host, "{host:?} in way {way}: {answer}");
            }
            each_refusal_is_told(out, &answers).await?;
        }
        ensure!(out.lab.asked(&path)?.is_empty(), "one arrived: {:?}", out.lab.asked(&path)?);
        // Some are the allowed host's own: with what is not, they ask it for a page that it has not.
        let mut elsewhere = arrived(out, &canary)?;
        elsewhere.retain(|request| request["host"] != ALLOWED || request["tls"] != ALLOWED);
        ensure!(elsewhere.is_empty(), "at another host arrived {elsewhere:?}");
        ensure!(!out.lab.has_sunk(&canary)?, "one arrived at a sink");
        only_allowed_names_were_asked_for(out)?;
        let allowed = vectors(ALLOWED, &path);
        let answers = answers(&out.ws, "out", &[allowed[1].clone(), allowed[4].clone()]).await?;
        ensure!(answers.iter().all(|answer| answer.status() == Some(404)), "the control: {answers:?}");
        ensure!(out.lab.asked(&path)?.len() == 2, "the control arrives");
        these_alone_are_told(out, &[(ALLOWED, "docs", 2)]).await
    })
    .await
}

/// Whoever asks the internet's DNS server is the gateway, and it asks for names that rules of these tests name.
fn only_allowed_names_were_asked_for(out: &Out<'_>) -> Result<()> {
    let resolved = out.lab.resolved()?;
    for name in [DENIED, "telemetry.example", "docs.example.evil", "xdocs.example", "user"] {
        ensure!(!resolved.contains(&format!(" {name}. ")), "{name} was asked for");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b03_b04_a_name_in_tls_or_in_a_request_is_the_connections() -> Result<()> {
    with_rules(json!([reading("docs", &[ALLOWED, "api.example"])]), async |out| {
        let path = format!("/{}", canary()?);
        let get = |host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let vectors = [
            Vector::within(ALLOWED, get(ALLOWED)).named(DENIED),
            Vector::within(ALLOWED, get(DENIED)).named(DENIED),
            Vector::within(ALLOWED, get(ALLOWED)).named("api.example"),
            Vector::within(ALLOWED, get("api.example")),
            Vector::within(ALLOWED, get(DENIED)),
            Vector::within(ALLOWED, get(&format!("{ALLOWED}:8443"))),
            Vector::within(
                ALLOWED,
                format!("GET https://api.example{path} HTTP/1.1\r\nHost: {ALLOWED}\r\n\r\n"),
            ),
        ];
        let misdirected = answers(&out.ws, "out", &vectors).await?;
        for (vector, answer) in vectors.iter().zip(&misdirected) {
            let is_misdirected = answer.status() == Some(421) && answer.reasons().eq(["misdirected"]);
            ensure!(is_misdirected, "{vector:?}: {answer}");
        }
        each_refusal_is_told(out, &misdirected).await?;
        let unencrypted = [
            Vector::within(ALLOWED, get(ALLOWED)).without_tls(),
            Vector::within(ALLOWED, "SSH-2.0-x\r\n").without_tls(),
        ];
        let unencrypted = answers(&out.ws, "out", &unencrypted).await?;
        for answer in &unencrypted {
            ensure!(matches!(answer.status(), None | Some(400 | 403 | 421)), "{answer}");
        }
        each_refusal_is_told(out, &unencrypted).await?;
        ensure!(out.lab.asked(&path)?.is_empty(), "one arrived");
        let control = answers(&out.ws, "out", &[Vector::within("api.example", get("api.example"))]).await?;
        ensure!(
            control[0].status() == Some(404) && out.lab.asked(&path)?.len() == 1,
            "the control: {control:?}"
        );
        these_alone_are_told(out, &[("api.example", "docs", 1)]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b03_tls_that_names_no_host_or_two_leads_nowhere() -> Result<()> {
    with_rules(json!([reading("docs", &[ALLOWED])]), async |out| {
        let (hidden, shown) = (format!("/{}", canary()?), format!("/{}", canary()?));
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n");
        let vector = || Vector::within(ALLOWED, get(&hidden));
        let misdirected = [
            vector().beginning(Hello::Nameless),
            vector().named("hidden.example."),
            vector().named("docs_.example"),
            vector().named("_docs.example"),
            vector().named("docs.example_"),
            vector().named("docs.example.hidden.example"),
        ];
        let refusals = answers(&out.ws, "out", &misdirected).await?;
        for (vector, answer) in misdirected.iter().zip(&refusals) {
            let is_misdirected = answer.status() == Some(421) && answer.reasons().eq(["misdirected"]);
            ensure!(is_misdirected, "{vector:?}: {answer}");
        }
        each_refusal_is_told(out, &refusals).await?;
        // An alert (RFC 8446 §6), or nothing: no handshake begins.
        let wrong = [Hello::Twice, Hello::Again, Hello::Nul, Hello::EndsInNul];
        let wrong = wrong.map(|hello| vector().beginning(hello));
        let refusals = answers(&out.ws, "out", &wrong).await?;
        for (vector, answer) in wrong.iter().zip(&refusals) {
            ensure!(answer.is_empty() || answer.starts_with('\u{15}'), "{vector:?}: {answer:?}");
        }
        each_refusal_is_told(out, &refusals).await?;
        ensure!(out.lab.asked(&hidden)?.is_empty(), "one arrived: {:?}", out.lab.asked(&hidden)?);
        // In two records it is the same handshake, and with the root's dot the same name.
        let right = [
            Vector::within(ALLOWED, get(&shown)),
            Vector::within(ALLOWED, get(&shown)).beginning(Hello::Split),
            Vector::within(ALLOWED, get(&shown)).named("docs.example."),
        ];
        let controls = answers(&out.ws, "out", &right).await?;
        ensure!(controls.iter().all(|answer| answer.status() == Some(404)), "the controls: {controls:?}");
        let arrived = out.lab.asked(&shown)?;
        ensure!(arrived.len() == right.len(), "the controls arrive");
        let is_to_it = |request: &Value| request["host"] == ALLOWED && request["tls"] == ALLOWED;
        ensure!(arrived.iter().all(is_to_it), "by its one name: {arrived:?}");
        these_alone_are_told(out, &[(ALLOWED, "docs", right.len())]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b09_a_path_in_no_spelling_leaves_what_is_allowed() -> Result<()> {
    let rules = json!([{"name": "docs", "hosts": [ALLOWED], "allow": [{"methods": ["GET"], "paths": ["/public/**"]}]}]);
    with_rules(rules, async |out| {
        let canary = canary()?;
        let paths: Vec<String> = corpus::paths().map(|path| format!("{path}{canary}")).collect();
        ensure!(paths.len() >= 150, "{}", paths.len());
        let vector = |path: &String| {
            Vector::within(
                ALLOWED,
                format!("GET {path} HTTP/1.1\r\nHost: {ALLOWED}\r\nConnection: close\r\n\r\n"),
            )
        };
        let vectors: Vec<Vector> = paths.iter().map(vector).collect();
        let answers = answers(&out.ws, "out", &vectors).await?;
        let mut told = String::new();
        for (path, answer) in paths.iter().zip(&answers) {
            if answer.status().is_none_or(|status| status >= 500) {
                writeln!(told, "{path}: {answer:.80}")?;
            }
        }
        ensure!(told.is_empty(), "each is answered clearly:\n{told}");
        each_refusal_is_told(out, &answers).await?;
        let arrived_before = only_what_is_public_arrived(out, &canary)?;
        let control = format!("/public/a%20b/{canary}");
        let control = ws_tests::raw::answers(&out.ws, "out", &[vector(&control)]).await?;
        ensure!(arrived(out, &canary)?.len() == arrived_before + 1, "the control arrives: {control:?}");
        Ok(())
    })
    .await
}

/// Asks a host for paths as they stand here, by HTTP/2, each on a connection of its own. Prints the status of each, or an error's name.
const BY_HTTP2: &str = r"
const net = require('net'), tls = require('tls'), h2 = require('http2');
const [address, port] = process.env.HTTPS_PROXY.split('//')[1].split(':');
const ask = (host, path) => new Promise(answer => {
  const tunnel = net.connect(port, address, () => tunnel.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`));
  tunnel.on('error', error => answer(error.code));
  tunnel.once('data', () => {
    const options = { socket: tunnel, servername: host, ALPNProtocols: ['h2'], rejectUnauthorized: false };
    const secure = tls.connect(options, () => {
      const session = h2.connect(`https://${host}`, { createConnection: () => secure });
      const end = text => { answer(text); session.destroy(); };
      session.on('error', error => end(error.code));
      try {
        const stream = session.request({ ':path': path });
        stream.on('response', head => end(head[':status'])).on('error', error => end(error.code)).on('close', () => end('closed'));
      } catch (error) { end(error.code); }
    });
    secure.on('error', error => answer(error.code));
  });
});
let input = '';
process.stdin.on('data', data => input += data).on('end', async () => {
  const [host, paths] = JSON.parse(input), answers = [];
  for (const path of paths) answers.push(await ask(host, path));
  console.log(JSON.stringify(answers));
  process.exit(0);
});
";

#[tokio::test]
#[ignore = "needs the lab"]
async fn b09_nor_does_it_by_http2() -> Result<()> {
    let rules = json!([{"name": "docs", "hosts": [ALLOWED], "allow": [{"methods": ["GET"], "paths": ["/public/**"]}]}]);
    with_rules(rules, async |out| {
        let canary = canary()?;
        let control = format!("/public/a%20b/{canary}");
        let paths: Vec<String> =
            corpus::paths().map(|path| format!("{path}{canary}")).chain([control]).collect();
        let input = serde_json::to_vec(&(ALLOWED, &paths))?;
        let asked =
            out.ws.run_with_input(input, &["attach", "out", "--", "node", "-e", BY_HTTP2]).await?.ok()?;
        let answers: Vec<Value> = serde_json::from_str(&asked.stdout)?;
        let statuses: Vec<u64> = answers.iter().filter_map(Value::as_u64).collect();
        ensure!(answers.len() == paths.len() && statuses.len() >= 100, "few were answered: {answers:?}");
        ensure!(statuses.iter().all(|status| *status < 500), "each is answered clearly: {answers:?}");
        let arrived = only_what_is_public_arrived(out, &canary)?;
        let passed = statuses.iter().filter(|status| matches!(status, 200 | 404)).count();
        ensure!((1..=passed).contains(&arrived), "{arrived} arrived of {passed}, the control among them");
        Ok(())
    })
    .await
}

/// Fails unless what was let through is, as nginx reads it, what is allowed; how many requests with this in them were.
fn only_what_is_public_arrived(out: &Out<'_>, canary: &str) -> Result<usize> {
    let requests = arrived(out, canary)?;
    for request in &requests {
        let uri = request["uri"].as_str().unwrap_or_default();
        let leads_up = uri.split('/').any(|segment| segment.trim() == "..");
        ensure!(uri.starts_with("/public/") && !leads_up, "{request}");
    }
    Ok(requests.len())
}

/// The requests with this in them, in whatever spelling, that the web server got.
pub(crate) fn arrived(out: &Out<'_>, canary: &str) -> Result<Vec<Value>> {
    let requests = out.lab.asked("")?;
    Ok(requests.into_iter().filter(|request| spelling::holds(&request.to_string(), canary)).collect())
}
