//! Red team, group B: requests within requests, and after one that is refused (B02, B10, B11, B12). Whatever the gateway makes of
//! such bytes, the host sees at most the requests that it decided on.

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{
    corpus::{self, Fate},
    probe::canary,
    raw::{Vector, answers},
};

use crate::{
    audited::{each_refusal_is_told, these_alone_are_told},
    spellings::arrived,
    way_out::with_rules,
};

const HOST: &str = "docs.example";

#[tokio::test]
#[ignore = "needs the lab"]
async fn b10_no_request_hides_in_another() -> Result<()> {
    let rules = json!([{
        "name": "docs", "hosts": [HOST],
        "allow": [{"methods": ["GET"], "paths": ["/public/**"]}, {"methods": ["POST"], "paths": ["/public/form"], "body": {"max": "64Ki"}}],
    }]);
    with_rules(rules, async |out| {
        let hidden = format!("/secret/{}", canary()?);
        let smuggled = corpus::smuggled(HOST, &hidden);
        let vectors: Vec<Vector> = smuggled.iter().map(|(.., bytes)| Vector::within(HOST, bytes)).collect();
        let answers = answers(&out.ws, "out", &vectors).await?;
        for ((what, fate, _), answer) in smuggled.iter().zip(&answers) {
            let statuses: Vec<u16> = answer.statuses().collect();
            let allowed = statuses.iter().filter(|status| matches!(status, 200..300 | 404)).count();
            let refused = statuses.iter().filter(|status| matches!(status, 400 | 403 | 413 | 431)).count();
            let is_met = match fate {
                // What is said to be HTTP/2 is broken off without a word.
                Fate::Refused => {
                    allowed == 0 && refused == statuses.len() && refused <= 1 && answer.is_closed
                }
                Fate::Closed => allowed <= 1 && statuses.len() <= 1 && answer.is_closed,
                Fate::Once => allowed <= 1,
            };
            ensure!(is_met, "{what} is not {fate:?}: {answer:?}");
        }
        each_refusal_is_told(out, &answers).await?;
        ensure!(out.lab.asked(&hidden)?.is_empty(), "{:?}", out.lab.asked(&hidden)?);
        ensure!(!out.lab.resolved()?.contains(" hidden.example. "), "a name was asked for");
        let shown = format!("/public/{}", &hidden[8..]);
        let control = format!("GET {shown} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        ws_tests::raw::answers(&out.ws, "out", &[Vector::within(HOST, control)]).await?;
        ensure!(out.lab.asked(&shown)?.len() == 1, "the control arrives");
        these_alone_are_told(out, &[(HOST, "docs", 1)]).await
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b10_what_follows_a_body_goes_no_further() -> Result<()> {
    // A sink, which writes down each byte and does not answer.
    const SINK: &str = "sink.example:8080";
    let allow = json!([{"methods": ["POST"], "paths": ["/**"], "body": {"max": "64Ki"}}]);
    let rules = json!([{"name": "sink", "hosts": ["sink.example"], "scheme": "http", "ports": [8080], "allow": allow}]);
    with_rules(rules, async |out| {
        let (hidden, shown) = (canary()?, canary()?);
        let trailers = [
            format!("Authorization: Bearer {hidden}"),
            format!("Host: {hidden}.example"),
            format!("Cookie: a={hidden}\r\nX-Anything: {hidden}"),
        ];
        let request = |number: usize, trailers: &str| {
            let body = format!("{number}-{shown}");
            Vector::plain(format!(
                "POST http://{SINK}/ HTTP/1.1\r\nHost: {SINK}\r\nTE: trailers\r\n\
                 Trailer: authorization, host, cookie, x-anything\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {:x}\r\n{body}\r\n0\r\n{trailers}\r\n\r\n",
                body.len()
            ))
        };
        let vectors: Vec<_> =
            trailers.iter().enumerate().map(|(number, trailers)| request(number, trailers)).collect();
        answers(&out.ws, "out", &vectors).await?;
        let sunk = out.lab.sunk()?;
        for number in 0..vectors.len() {
            ensure!(
                sunk.contains(&format!("{number}-{shown}\r\n0\r\n\r\n")),
                "the control: a body arrives whole"
            );
        }
        ensure!(!out.lab.has_sunk(&hidden)?, "what followed a body arrived");
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b12_nothing_follows_a_refusal_on_its_connection() -> Result<()> {
    let allow = json!([{"methods": ["GET"], "paths": ["/public/**"]}, {"methods": ["POST"], "paths": ["/public/form"], "body": {"max": "64Ki"}}]);
    with_rules(json!([{"name": "docs", "hosts": [HOST], "allow": allow}]), async |out| {
        let canary = canary()?;
        let get = |page: &str| format!("GET /public/{canary}/{page} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        // What follows it is its late body, or the next request: either way it goes nowhere.
        let refused = |head: &str| format!("{}{head}\r\nHost: {HOST}\r\n", get("first"));
        let hidden = get("hidden");
        let length = hidden.len();
        let vectors = [
            format!("{}\r\n{hidden}", refused("GET /secret HTTP/1.1")),
            format!("{}Content-Length: {length}\r\n\r\n{hidden}{hidden}", refused("POST /secret HTTP/1.1")),
            format!("{}Content-Length: 99999\r\n\r\n{hidden}", refused("POST /public/form HTTP/1.1")),
            format!(
                "{}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{hidden}\r\n0\r\n\r\n{hidden}",
                refused("PUT /public/form HTTP/1.1")
            ),
        ];
        let vectors = vectors.map(|bytes| Vector::within(HOST, bytes));
        let told = answers(&out.ws, "out", &vectors).await?;
        for (number, answer) in told.iter().enumerate() {
            let statuses: Vec<u16> = answer.statuses().collect();
            let is_ended = matches!(statuses[..], [404, 403 | 413]) && answer.is_closed;
            ensure!(is_ended, "{number}: {answer:?}");
        }
        each_refusal_is_told(out, &told).await?;
        let arrived = arrived(out, &canary)?;
        ensure!(arrived.len() == vectors.len(), "{arrived:?}");
        ensure!(arrived.iter().all(|request| !request.to_string().contains("hidden")), "{arrived:?}");
        let both = Vector::within(HOST, [get("first"), hidden].concat());
        let control = answers(&out.ws, "out", &[both]).await?;
        ensure!(control[0].statuses().eq([404, 404]), "{control:?}");
        ensure!(out.lab.asked(&format!("/public/{canary}/hidden"))?.len() == 1, "the control arrives");
        these_alone_are_told(out, &[(HOST, "docs", 2)]).await
    })
    .await
}
