//! Red team, group B: requests within requests (B02, B10, B11, B12). Whatever the gateway makes of such bytes, the host sees at most
//! the one request that it decided on.

use anyhow::{Result, ensure};
use serde_json::json;
use ws_tests::{
    corpus,
    probe::canary,
    raw::{Vector, answers},
};

use crate::way_out::with_rules;

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
        let vectors: Vec<Vector> = smuggled.iter().map(|(_, bytes)| Vector::within(HOST, bytes)).collect();
        let answers = answers(&out.ws, "out", &vectors).await?;
        for ((what, _), answer) in smuggled.iter().zip(&answers) {
            let allowed = answer.matches("HTTP/1.1 2").count() + answer.matches("HTTP/1.1 404").count();
            ensure!(allowed <= 1, "{what}: {answer}");
        }
        ensure!(out.lab.asked(&hidden)?.is_empty(), "{:?}", out.lab.asked(&hidden)?);
        ensure!(!out.lab.resolved()?.contains(" hidden.example. "), "a name was asked for");
        let shown = format!("/public/{}", &hidden[8..]);
        let control = format!("GET {shown} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        ws_tests::raw::answers(&out.ws, "out", &[Vector::within(HOST, control)]).await?;
        ensure!(out.lab.asked(&shown)?.len() == 1, "the control arrives");
        Ok(())
    })
    .await
}
