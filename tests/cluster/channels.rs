//! Red team, group B: what goes along with a request that is allowed (B11, B19). Of its method, its parameters, its headers and its body,
//! the host gets what the rule names, and it is not asked in vain without end.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    probe::canary,
    raw::{Vector, answers},
};

use crate::{
    audited::{are_told, each_refusal_is_told, these_alone_are_told},
    misuse::is_refused,
    spellings::arrived,
    way_out::with_rules,
};

const HOST: &str = "docs.example";

/// Pages that are read, with one parameter and one header.
fn rules() -> Value {
    json!([{
        "name": "docs", "hosts": [HOST], "budget": {"notFound": 3},
        "allow": [{"methods": ["GET"], "paths": ["/public/{page}"], "query": ["v"], "headers": [{"name": "accept"}]}],
    }])
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b11_a_request_has_a_method_and_a_body_as_its_rule_says() -> Result<()> {
    with_rules(rules(), async |out| {
        let canary = canary()?;
        let request = |line: &str, rest: &str| {
            Vector::within(HOST, format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{rest}"))
        };
        let page = format!("/public/{canary}");
        let get = format!("GET {page}");
        let methods = [
            "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "TRACK", "PROPFIND", "CONNECT", "get",
            "GETS",
        ];
        let mut vectors: Vec<Vector> =
            methods.iter().map(|method| request(&format!("{method} {page}"), "\r\n")).collect();
        vectors.extend([
            request(&format!("CONNECT {HOST}:443"), "\r\n"),
            request(&format!("{get}?_method=DELETE"), "\r\n"),
            request(&get, "Content-Length: 5\r\n\r\nhello"),
            request(&get, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ]);
        let refusals = answers(&out.ws, "out", &vectors).await?;
        for (number, answer) in refusals.iter().enumerate() {
            ensure!(
                answer.is_empty() || is_refused(answer) || answer.starts_with("HTTP/1.1 413 "),
                "{number}: {answer}"
            );
        }
        each_refusal_is_told(out, &refusals).await?;
        are_told(out, &[(HOST, "request-not-allowed"), (HOST, "query-not-allowed"), (HOST, "body-too-long")])
            .await?;
        ensure!(arrived(out, &canary)?.is_empty(), "one of them arrived");
        let control =
            answers(&out.ws, "out", &[request(&get, "X-HTTP-Method-Override: DELETE\r\n\r\n")]).await?;
        ensure!(
            control[0].starts_with("HTTP/1.1 404 ") && !arrived(out, &canary)?.is_empty(),
            "the control: {control:?}"
        );
        ensure!(
            !out.lab.asked(&page)?[0].to_string().contains("DELETE"),
            "what a header makes of it stays behind"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b19_nothing_goes_along_with_a_request_but_what_its_rule_names() -> Result<()> {
    const HEADERS: [&str; 12] = [
        "Accept-Encoding",
        "Accept-Language",
        "Authorization",
        "Content-Type",
        "Cookie",
        "If-None-Match",
        "Range",
        "Referer",
        "User-Agent",
        "Via",
        "X-Anything",
        "X-Api-Key",
    ];
    with_rules(rules(), async |out| {
        let fetch = async |page: &str, more: &str| -> Result<String> {
            let curl =
                format!("curl -sS -o /dev/null -w '%{{http_code}}' {more} 'https://{HOST}/public/{page}'");
            Ok(out.bash(&curl).await?.ok()?.stdout)
        };
        let (page, hidden, shown) = (canary()?, canary()?, canary()?);
        let headers = HEADERS.map(|name| format!("-H '{name}: {hidden}'")).join(" ");
        ensure!(
            fetch(&page, &headers).await? == "404" && !arrived(out, &page)?.is_empty(),
            "headers are no offence"
        );
        for query in ["x=", "v=1&x=", "v=1;x=", "v=1&v2=", "%76%00=", "x", ""] {
            let refused = fetch(&format!("{page}?{query}{hidden}"), "").await?;
            ensure!(refused == "403" || refused == "400", "?{query}…: {refused}");
        }
        ensure!(fetch(&format!("{page}/{hidden}"), "").await? == "403", "a path that no rule allows");
        ensure!(arrived(out, &hidden)?.is_empty(), "it arrived");
        let control = fetch(&format!("{page}?v={shown}"), "").await?;
        ensure!(control == "404" && !arrived(out, &shown)?.is_empty(), "the control: {control}");

        let [third, fourth] = [canary()?, canary()?];
        ensure!(fetch(&third, "").await? == "404", "three may be asked for in vain");
        ensure!(fetch(&fourth, "").await? == "403" && arrived(out, &fourth)?.is_empty(), "a fourth may not");
        let expected = [
            (HOST, "docs", 3),
            (HOST, "malformed", 1),
            (HOST, "not-found-budget", 1),
            (HOST, "query-not-allowed", 6),
            (HOST, "request-not-allowed", 1),
        ];
        these_alone_are_told(out, &expected).await
    })
    .await
}
