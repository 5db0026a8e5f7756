//! Red team, group B: what a provider of models would do for a client that no rule lets it do (B11, B16, B17, B22, B23), with the
//! presets as they ship.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use ws_tests::{
    probe::canary,
    raw::{Vector, answers},
};

use crate::{
    audited::{are_told, each_refusal_is_told},
    way_out::{CREDENTIAL, SECRET, with_rules},
};

const ANTHROPIC: &str = "api.anthropic.com";
const OPENAI: &str = "api.openai.com";
/// 2^53 + 1: no 64-bit floating-point number is it.
const ROUNDED: &str = "9007199254740993";
/// What an attacker brings along.
const THEIRS: &str = "sk-attacker-0123456789";

/// A request, what is wrong with it, and whether a preset lets it pass nevertheless, without what is wrong.
struct Case {
    what: &'static str,
    host: &'static str,
    line: String,
    headers: Vec<String>,
    /// Of the body.
    kind: &'static str,
    body: Vec<u8>,
    passes: bool,
}

impl Case {
    fn new(what: &'static str, host: &'static str, line: &str, body: impl Into<Value>) -> Self {
        // A text is sent as it is.
        let body = match body.into() {
            Value::String(text) => text.into_bytes(),
            document => document.to_string().into_bytes(),
        };
        let (line, kind) = (line.to_owned(), "application/json");
        Self { what, host, line, headers: Vec::new(), kind, body, passes: false }
    }

    fn with(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    fn passing(self) -> Self {
        Self { passes: true, ..self }
    }

    fn vector(&self) -> Vector {
        let headers: Vec<String> = self.headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{} HTTP/1.1\r\nHost: {}\r\nContent-Type: {}\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n",
            self.line,
            self.host,
            self.kind,
            headers.concat(),
            self.body.len()
        );
        Vector::within(self.host, [head.as_bytes(), &self.body].concat())
    }
}

/// A request to Anthropic's Messages API with these members beside.
fn message(canary: &str, more: Value) -> Value {
    merged(
        json!({"model": "claude-sonnet-4-5", "max_tokens": 16, "messages": [{"role": "user", "content": canary}]}),
        more,
    )
}

/// A request to `OpenAI`'s Responses API with these members beside.
fn response(canary: &str, more: Value) -> Value {
    merged(json!({"model": "gpt-5.1-codex", "input": canary, "store": false}), more)
}

fn merged(mut object: Value, more: Value) -> Value {
    if let (Some(members), Value::Object(more)) = (object.as_object_mut(), more) {
        members.extend(more);
    }
    object
}

fn controls(canary: &str) -> Vec<Case> {
    vec![
        Case::new("a message", ANTHROPIC, "POST /v1/messages", message(canary, json!({}))).passing(),
        Case::new("a response", OPENAI, "POST /v1/responses", response(canary, json!({}))).passing(),
    ]
}

/// B11: other methods than the rule's, said in every way.
fn methods(canary: &str) -> Vec<Case> {
    let body = || message(canary, json!({}));
    let mut cases: Vec<_> = ["PUT", "DELETE", "PATCH", "PROPFIND", "TRACE", "TRACK", "post", "CANARY"]
        .map(|method| Case::new("another method", ANTHROPIC, &format!("{method} /v1/messages"), body()))
        .into();
    cases.extend([
        Case::new("a body with GET", ANTHROPIC, "GET /v1/models", body()),
        Case::new("a method in the query", ANTHROPIC, "POST /v1/messages?_method=DELETE", body()),
        Case::new("a tunnel in a tunnel", ANTHROPIC, "CONNECT telemetry.example:443", ""),
        Case::new("a method in a header", ANTHROPIC, "POST /v1/messages", body())
            .with("X-HTTP-Method-Override: DELETE")
            .with("X-Method-Override: DELETE")
            .passing(),
    ]);
    cases
}

/// B16: the attacker's own account, in every place that could name it.
fn accounts(canary: &str) -> Vec<Case> {
    let spellings = [
        format!("x-api-key: {THEIRS}"),
        format!("X-Api-Key: {THEIRS}"),
        format!("Authorization: Bearer {THEIRS}"),
        format!("Authorization: Basic {THEIRS}"),
        format!("Proxy-Authorization: Bearer {THEIRS}"),
        format!("Cookie: sessionKey={THEIRS}"),
        format!("anthropic-auth-token: {THEIRS}"),
        format!("x-goog-api-key: {THEIRS}"),
        format!("OpenAI-Organization: {THEIRS}"),
        format!("OpenAI-Project: {THEIRS}"),
    ];
    let mut cases = Vec::new();
    for header in &spellings {
        let to_anthropic = message(canary, json!({}));
        cases.push(
            Case::new("their account", ANTHROPIC, "POST /v1/messages", to_anthropic).with(header).passing(),
        );
        let to_openai = response(canary, json!({}));
        cases
            .push(Case::new("their account", OPENAI, "POST /v1/responses", to_openai).with(header).passing());
    }
    let in_query = format!("POST /v1/messages?api_key={THEIRS}");
    cases.push(Case::new("their account in the query", ANTHROPIC, &in_query, message(canary, json!({}))));
    cases
}

/// B17: what the provider's servers would fetch, run or keep.
fn features(canary: &str) -> Vec<Case> {
    let image = |source: Value| {
        json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": canary}, {"type": "image", "source": source}]}]})
    };
    let content = |part: Value| {
        json!({"input": [{"role": "user", "content": [
        {"type": "input_text", "text": canary}, part]}]})
    };
    let url = format!("https://telemetry.example/{canary}");
    let mut cases: Vec<_> =
        ["/v1/files", "/v1/messages/batches", "/v1/skills", "/v1/organizations/users", "/v1/complete"]
            .map(|path| {
                Case::new("another path", ANTHROPIC, &format!("POST {path}"), message(canary, json!({})))
            })
            .into();
    cases.extend(
        [
            "/v1/files",
            "/v1/batches",
            "/v1/vector_stores",
            "/v1/containers",
            "/v1/conversations",
            "/v1/assistants",
        ]
        .map(|path| Case::new("another path", OPENAI, &format!("POST {path}"), response(canary, json!({})))),
    );
    cases.extend([
        json!({"mcp_servers": [{"type": "url", "url": url, "name": "m"}]}),
        json!({"container": "c"}),
        json!({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        json!({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}),
        json!({"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "mcp_toolset", "mcp_server_name": "m"}]}),
        image(json!({"type": "url", "url": url})),
        image(json!({"type": "file", "file_id": "f"})),
        json!({"model": "other-model"}),
        json!({"model": ["claude-sonnet-4-5"]}),
    ].map(|more| Case::new("a feature", ANTHROPIC, "POST /v1/messages", message(canary, more))));
    cases.extend(
        [
            json!({"store": true}),
            json!({"background": true}),
            json!({"previous_response_id": "r"}),
            json!({"conversation": "c"}),
            json!({"prompt": {"id": "p"}}),
            json!({"tools": [{"type": "web_search"}]}),
            json!({"tools": [{"type": "mcp", "server_url": url, "server_label": "m"}]}),
            json!({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}),
            json!({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}),
            json!({"tools": [{"type": "image_generation"}]}),
            content(json!({"type": "input_image", "image_url": url})),
            content(json!({"type": "input_file", "file_url": url})),
            content(json!({"type": "input_file", "file_id": "f"})),
        ]
        .map(|more| Case::new("a feature", OPENAI, "POST /v1/responses", response(canary, more))),
    );
    cases.push(
        Case::new("a beta", ANTHROPIC, "POST /v1/messages", message(canary, json!({})))
            .with("anthropic-beta: mcp-client-2025-04-04, files-api-2025-04-14")
            .passing(),
    );
    cases
}

/// B22: bodies that two programs read differently, or that cost who reads them.
fn bodies(canary: &str) -> Vec<Case> {
    let post = |what, body: Vec<u8>| Case { body, ..Case::new(what, ANTHROPIC, "POST /v1/messages", "") };
    let text = message(canary, json!({})).to_string();
    let open = text.trim_end_matches('}');
    let twice = |key: &str, value: &str| format!("{{\"{key}\": {value}, {}", &text[1..]).into_bytes();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&b"\xff\xfe"[..], &utf16].concat();
    // As UTF-7 (RFC 2152), of which a reader of ASCII sees no brace and no quotation mark.
    let utf7 = text.replace('{', "+AHs-").replace('}', "+AH0-").replace('"', "+ACI-");
    let of_kind = |kind, case: Case| Case { kind, ..case };
    let deep = format!("{{\"metadata\": {}{}, {}", "[".repeat(10_000), "]".repeat(10_000), &text[1..]);
    let mut cases: Vec<_> = ["gzip", "br", "zstd", "deflate", "GZIP", "identity, gzip", "x-gzip"]
        .map(|encoding| {
            post("an encoded body", text.clone().into()).with(&format!("Content-Encoding: {encoding}"))
        })
        .into();
    cases.extend([
        post("a key that is there twice", twice("model", "\"other\"")),
        post("a key that is there twice, once escaped", twice("mod\\u0065l", "\"other\"")),
        post("a key in other letters", twice("Mcp_Servers", "[]")),
        post("UTF-16", utf16.clone()),
        of_kind("application/json; charset=utf-16le", post("UTF-16 that is said to be it", utf16)),
        of_kind("application/json; charset=utf-16", post("UTF-16 with its mark", marked)),
        of_kind("application/json; charset=utf-7", post("UTF-7", utf7.into())),
        // What is said of a body that is looked into stays behind: the provider is told how it was read.
        of_kind(
            "application/json; charset=utf-7",
            post("UTF-8 that is said to be UTF-7", text.clone().into()),
        )
        .passing(),
        post("an integer that some programs round", twice("seed", ROUNDED)).passing(),
        post("a number that is none", twice("seed", "1e999")),
        post("a number with a sign", twice("seed", "+1")),
        post("a byte order mark", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        post("not UTF-8", [open.as_bytes(), b", \"x\": \"\xff\"}"].concat()),
        post("10,000 lists in each other", deep.into()),
        post("two documents", format!("{text}{text}").into()),
        post("a document that does not end", text[..text.len() - 1].into()),
        post("a comment", format!("{text}// more").into()),
        post("not a number", twice("temperature", "NaN")),
        post("a list", format!("[{text}]").into()),
        post("nothing", Vec::new()),
        post(
            "a form of parts",
            format!("--x\r\ncontent-disposition: form-data; name=a\r\n\r\n{text}\r\n--x--").into(),
        ),
    ]);
    cases
}

/// B23: what stands where a credential would be, at a provider that it is not for.
fn placeholders(canary: &str) -> Vec<Case> {
    let placeholder = "ws-credential:anthropic";
    vec![
        Case::new(
            "a placeholder",
            OPENAI,
            "POST /v1/responses",
            response(canary, json!({"user": placeholder})),
        )
        .with(&format!("x-api-key: {placeholder}"))
        .with(&format!("Authorization: Bearer {placeholder}"))
        .passing(),
        Case::new(
            "a placeholder in the path",
            OPENAI,
            &format!("POST /v1/{placeholder}"),
            response(canary, json!({})),
        ),
        Case::new(
            "a placeholder in the query",
            OPENAI,
            &format!("POST /v1/responses?key={placeholder}"),
            response(canary, json!({})),
        ),
    ]
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn b11_b16_b17_b22_b23_a_provider_does_for_a_workspace_what_the_preset_lets_it() -> Result<()> {
    let credential = json!({"secretName": SECRET, "key": "key"});
    let rule = |name: &str, models: &str| json!({"name": name, "preset": name, "credential": credential, "models": [models]});
    with_rules(json!([rule("anthropic", "claude-*"), rule("openai", "gpt-*")]), async |out| {
        let canary = canary()?;
        let groups = [controls, methods, accounts, features, bodies, placeholders];
        let cases: Vec<Case> = groups.into_iter().flat_map(|group| group(&canary)).collect();
        let vectors: Vec<Vector> = cases.iter().map(Case::vector).collect();
        let given = answers(&out.ws, "out", &vectors).await?;
        for (case, answer) in cases.iter().zip(&given) {
            let Case { what, host, line, headers, kind: _, body, passes } = case;
            let is_answered = answer.starts_with("HTTP/1.1 200 ") && !answer.contains("x-ws-denied");
            let is_refused = answer.starts_with("HTTP/1.1 4");
            let shown =
                || format!("{what}: {line} to {host} with {headers:?} and {}: {answer}", body.escape_ascii());
            ensure!(if *passes { is_answered } else { is_refused }, "{}", shown());
        }
        each_refusal_is_told(out, &given).await?;
        let expected = [
            (ANTHROPIC, "request-not-allowed"),
            (ANTHROPIC, "query-not-allowed"),
            (ANTHROPIC, "body-rule"),
            (ANTHROPIC, "encoded-body"),
            (OPENAI, "body-rule"),
        ];
        are_told(out, &expected).await?;
        let arrived = out.lab.asked_of_models(&canary)?;
        ensure!(arrived.len() == cases.iter().filter(|case| case.passes).count(), "{arrived:?}");
        for request in arrived {
            let own = if request.host == ANTHROPIC {
                ("x-api-key", CREDENTIAL.to_owned())
            } else {
                ("authorization", format!("Bearer {CREDENTIAL}"))
            };
            let sent = request.headers.get(own.0).context("a credential")?;
            ensure!(*sent == own.1, "{request:?}");
            let all = format!("{:?}", request.headers).to_lowercase();
            for theirs in
                [THEIRS, "override", "ws-credential", "mcp-client", "cookie", "organization", "utf-"]
            {
                ensure!(!all.contains(theirs), "{theirs} arrived: {request:?}");
            }
            let seed = request.body.split("\"seed\": ").nth(1);
            ensure!(seed.is_none_or(|seed| seed.starts_with(ROUNDED)), "it was rounded: {request:?}");
        }
        Ok(())
    })
    .await
}
