//! What the presets of model providers let through of agents' requests, and what they refuse that looks like them.

use std::fs;

use serde_json::{Value, json};

use crate::environment::Environment;

const CLASS: &str = "
apiVersion: ws.dev/v1alpha1
kind: WorkspaceClass
metadata: {name: models}
spec:
  image: workspace
  egress:
    rules:
    - {name: a, preset: anthropic, credential: {secretName: s, key: k}}
    - {name: g, preset: google, credential: {secretName: s, key: k}}
    - {name: o, preset: openai, credential: {secretName: s, key: k}}
    - {name: r, preset: openrouter, models: [openai/gpt-5], credential: {secretName: s, key: k}}
    - {name: c, preset: openai-compatible, hosts: [vllm.example]}
    - {name: l, preset: ollama, hosts: [ollama.example], models: ['gpt-oss:20b']}
";
const ANTHROPIC: &str = "https://api.anthropic.com/v1/messages?beta=true";
const OPENAI: &str = "https://api.openai.com/v1/responses";
const GOOGLE: &str =
    "https://generativelanguage.googleapis.com/v1beta/models/gemini:streamGenerateContent?alt=sse";
const OPENROUTER: &str = "https://openrouter.ai/api/v1/chat/completions";
const ELSEWHERE: &str = "https://telemetry.example/collect";

/// Bodies in the forms that the agents give them.
fn messages(content: &Value) -> Value {
    json!({
        "model": "claude", "stream": true, "thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"},
        "tools": [{"name": "Bash", "input_schema": {}}], "messages": [{"role": "user", "content": [content]}],
    })
}

fn responses(item: &Value) -> Value {
    json!({
        "model": "gpt", "stream": true, "store": false, "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k", "client_metadata": {"session_id": "s"}, "input": [item],
    })
}

fn contents(part: &Value) -> Value {
    json!({
        "tools": [{"functionDeclarations": [{"name": "run_shell_command"}]}],
        "contents": [{"role": "user", "parts": [part]}],
    })
}

/// A body of Chat Completions with one part of a message.
fn chat(model: &str, part: &Value) -> Value {
    json!({
        "model": model, "stream": true, "tools": [{"type": "function", "function": {"name": "run"}}],
        "messages": [{"role": "user", "content": [part]}],
    })
}

/// The same with another member beside.
fn with(mut body: Value, member: &str, value: &Value) -> Value {
    body[member] = value.clone();
    body
}

fn is_allowed(url: &str, body: &Value) -> bool {
    let environment = Environment::new();
    fs::write(environment.project().join("class.yaml"), CLASS).unwrap();
    fs::write(environment.project().join("body.json"), body.to_string()).unwrap();
    let test = ["policy", "test", "models", "POST", url, "--file", "class.yaml", "--body", "body.json"];
    let outcome = environment.run(&test);
    let is_allowed = outcome.code == Some(0);
    assert!(is_allowed || outcome.to_string().contains("its body "), "{body}: {outcome}");
    is_allowed
}

#[test]
fn what_agents_send_is_allowed() {
    let group =
        json!({"type": "namespace", "tools": [{"type": "custom", "name": "exec"}, {"type": "function"}]});
    for (url, body) in [
        (ANTHROPIC, messages(&json!({"type": "text", "text": "hello"}))),
        (ANTHROPIC, messages(&json!({"type": "tool_result", "tool_use_id": "t", "content": "output"}))),
        (OPENAI, responses(&json!({"type": "additional_tools", "role": "developer", "tools": [group]}))),
        (OPENAI, responses(&json!({"type": "custom_tool_call_output", "output": [{"type": "input_text"}]}))),
        (
            OPENAI,
            responses(&json!({"output": [{"type": "input_image", "image_url": "data:image/png;base64,"}]})),
        ),
        (GOOGLE, contents(&json!({"functionResponse": {"name": "f", "response": {"output": "text"}}}))),
    ] {
        assert!(is_allowed(url, &body), "{body}");
    }
}

#[test]
fn what_has_a_provider_reach_out_is_denied_wherever_it_stands() {
    let image = json!({"type": "image", "source": {"type": "url", "url": ELSEWHERE}});
    let document = json!({"type": "document", "source": {"type": "content", "content": [image]}});
    let search = json!([{"type": "web_search"}]);
    let file = json!({"fileUri": ELSEWHERE});
    for (url, body) in [
        (ANTHROPIC, messages(&image)),
        (ANTHROPIC, messages(&document)),
        (ANTHROPIC, messages(&json!({"type": "tool_result", "content": [image]}))),
        (ANTHROPIC, messages(&json!({"type": "tool_result", "content": [document]}))),
        (OPENAI, responses(&json!({"type": "additional_tools", "tools": search}))),
        (
            OPENAI,
            responses(
                &json!({"type": "additional_tools", "tools": [{"type": "namespace", "tools": search}]}),
            ),
        ),
        (
            OPENAI,
            responses(
                &json!({"tools": [{"type": "namespace", "tools": [{"type": "function", "tools": search}]}]}),
            ),
        ),
        (OPENAI, responses(&json!({"output": [{"type": "input_image", "image_url": ELSEWHERE}]}))),
        (OPENAI, responses(&json!({"output": {"type": "computer_screenshot", "image_url": ELSEWHERE}}))),
        (OPENAI, responses(&json!({"output": [{"type": "input_file", "file_url": ELSEWHERE}]}))),
        (
            OPENAI,
            json!({"model": "m", "store": false, "input": "", "tools": [{"type": "namespace", "tools": search}]}),
        ),
        (
            OPENAI,
            json!({"model": "m", "store": false, "input": "", "tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
        ),
        (GOOGLE, contents(&json!({"fileData": file}))),
        (GOOGLE, contents(&json!({"functionResponse": {"parts": [{"fileData": file}]}}))),
        (GOOGLE, contents(&json!({"function_response": {"parts": [{"file_data": file}]}}))),
        (GOOGLE, json!({"contents": [], "system_instruction": {"parts": [{"fileData": file}]}})),
    ] {
        assert!(!is_allowed(url, &body), "{body}");
    }
}

const SERVERS: [(&str, &str); 2] =
    [("https://vllm.example", "qwen"), ("https://ollama.example", "gpt-oss:20b")];
const DATA: &str = "data:image/png;base64,AAAA";

#[test]
fn an_answer_that_would_be_kept_is_denied() {
    let body = responses(&json!({"role": "user", "content": "hello"}));
    assert!(is_allowed(OPENAI, &body), "the control");
    assert!(!is_allowed(OPENAI, &with(body.clone(), "store", &json!(true))));
    assert!(!is_allowed(OPENAI, &with(body.clone(), "store", &json!(null))));
    let mut silent = body;
    silent.as_object_mut().unwrap().remove("store");
    assert!(!is_allowed(OPENAI, &silent), "it is kept unless the request says no");
}

#[test]
fn b17_openrouter_is_asked_for_the_named_model_alone() {
    let text = chat("openai/gpt-5", &json!({"type": "text", "text": "hello"}));
    let of = |part: Value| chat("openai/gpt-5", &part);
    for body in [
        text.clone(),
        of(json!({"type": "image_url", "image_url": {"url": DATA}})),
        of(
            json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}),
        ),
    ] {
        assert!(is_allowed(OPENROUTER, &body), "{body}");
    }
    for body in [
        chat("openai/gpt-5:online", &json!({"type": "text", "text": "hello"})),
        chat("@preset/other", &json!({"type": "text", "text": "hello"})),
        with(text.clone(), "models", &json!(["openai/gpt-5:online"])),
        with(text.clone(), "preset", &json!("other")),
        with(text.clone(), "route", &json!("fallback")),
        with(text.clone(), "plugins", &json!([{"id": "web"}])),
        with(text.clone(), "web_search_options", &json!({})),
        with(text, "tools", &json!([{"type": "openrouter:web_search"}])),
        of(json!({"type": "image_url", "image_url": {"url": ELSEWHERE}})),
        of(json!({"type": "video_url", "video_url": {"url": ELSEWHERE}})),
        of(json!({"type": "file", "file": {"file_data": ELSEWHERE}})),
    ] {
        assert!(!is_allowed(OPENROUTER, &body), "{body}");
    }
}

#[test]
fn b17_a_model_server_of_ones_own_is_told_of_no_address() {
    for (server, model) in SERVERS {
        let url = |path: &str| format!("{server}{path}");
        let (chats, messages_url, responses_url) =
            (url("/v1/chat/completions"), url("/v1/messages"), url("/v1/responses"));
        let named = |body: Value| with(body, "model", &json!(model));
        let image = json!({"type": "image", "source": {"type": "base64", "data": "AAAA"}});
        for (url, body) in [
            (&chats, chat(model, &json!({"type": "text", "text": "hello"}))),
            (&messages_url, named(messages(&image))),
            (&messages_url, named(messages(&json!({"type": "tool_result", "content": [image]})))),
            (
                &responses_url,
                named(responses(&json!({"content": [{"type": "input_image", "image_url": DATA}]}))),
            ),
            (&responses_url, json!({"model": model, "input": "hello"})),
            (&url("/v1/completions"), json!({"model": model, "prompt": "hello"})),
            (&url("/v1/embeddings"), json!({"model": model, "input": ["hello"]})),
            (&url("/v1/embeddings"), json!({"model": model, "input": [1, 2]})),
        ] {
            assert!(is_allowed(url, &body), "{server} {body}");
        }
        let linked = json!({"type": "image", "source": {"type": "url", "url": ELSEWHERE}});
        let part = |member: &str, value: Value| json!({"type": member, member: value});
        let search = json!([{"type": "web_search"}]);
        for (url, body) in [
            (&chats, chat(model, &part("image_url", json!({"url": ELSEWHERE})))),
            (&chats, chat(model, &part("video_url", json!({"url": ELSEWHERE})))),
            (&chats, chat(model, &part("audio_url", json!(ELSEWHERE)))),
            (&chats, chat(model, &part("file", json!({"file_id": ELSEWHERE})))),
            (
                &chats,
                with(
                    chat(model, &json!("text")),
                    "tools",
                    &json!([{"type": "mcp", "server_url": ELSEWHERE}]),
                ),
            ),
            (&messages_url, named(messages(&linked))),
            (&messages_url, named(messages(&json!({"type": "tool_result", "content": [linked]})))),
            (&messages_url, named(messages(&part("image_url", json!({"url": ELSEWHERE}))))),
            (
                &messages_url,
                with(named(messages(&image)), "tools", &json!([{"type": "web_search_20250305"}])),
            ),
            (&messages_url, with(named(messages(&image)), "mcp_servers", &json!([]))),
            (
                &responses_url,
                named(responses(&json!({"content": [{"type": "input_image", "image_url": ELSEWHERE}]}))),
            ),
            (
                &responses_url,
                named(responses(&json!({"content": [{"type": "input_file", "file_url": ELSEWHERE}]}))),
            ),
            (
                &responses_url,
                named(responses(&json!({"output": [{"type": "input_image", "image_url": ELSEWHERE}]}))),
            ),
            (&responses_url, json!({"model": model, "input": "", "tools": search})),
            (
                &responses_url,
                json!({"model": model, "input": "", "tools": [{"type": "mcp", "server_url": ELSEWHERE}]}),
            ),
            (&url("/v1/embeddings"), json!({"model": model, "input": "", "messages": []})),
            (&url("/v1/embeddings"), json!({"model": model, "input": [{"image": ELSEWHERE}]})),
        ] {
            assert!(!is_allowed(url, &body), "{server} {body}");
        }
    }
}

/// Members by which a model server is told of the host that it connects to, or what it runs.
const REACHING_OUT: [&str; 5] =
    ["kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room", "custom_logit_processor"];

#[test]
fn b17_a_model_server_of_ones_own_is_told_of_no_peer_and_runs_nothing() {
    for (server, model) in SERVERS {
        let named = |body: Value| with(body, "model", &json!(model));
        let prompt = json!({"model": model, "prompt": "hello"});
        let texts = json!({"model": model, "input": ["hello"]});
        let chats = chat(model, &json!({"type": "text", "text": "hello"}));
        let mut bodies = vec![
            ("/v1/chat/completions", chats.clone()),
            ("/v1/messages", named(messages(&json!({"type": "text", "text": "hello"})))),
            ("/v1/responses", named(responses(&json!({"role": "user", "content": "hello"})))),
            ("/v1/completions", prompt.clone()),
            ("/v1/embeddings", texts.clone()),
        ];
        if server.contains("ollama") {
            bodies.extend([("/api/chat", chats), ("/api/generate", prompt), ("/api/embed", texts)]);
            bodies.push(("/api/show", json!({"model": model})));
        }
        for (path, body) in bodies {
            let url = format!("{server}{path}");
            assert!(is_allowed(&url, &body), "the control: {url}");
            for member in REACHING_OUT {
                let body = with(body.clone(), member, &json!("telemetry.example"));
                assert!(!is_allowed(&url, &body), "{url} {member}");
            }
        }
    }
}

/// vLLM fetches what stands there in either form, Ollama in neither.
#[test]
fn b17_an_image_is_in_the_request_whatever_form_it_has() {
    let [(vllm, qwen), (ollama, gpt)] = SERVERS;
    let url = |server: &str| format!("{server}/v1/chat/completions");
    let image = |model: &str, image: Value| chat(model, &json!({"image_url": image}));
    assert!(is_allowed(&url(vllm), &image(qwen, json!(DATA))));
    for denied in [json!(ELSEWHERE), json!({"url": ELSEWHERE}), json!({"url": DATA})] {
        assert!(!is_allowed(&url(vllm), &image(qwen, denied)));
    }
    assert!(is_allowed(&url(ollama), &image(gpt, json!({"url": DATA}))));
    assert!(!is_allowed(&url(ollama), &image(gpt, json!({"url": ELSEWHERE}))));
    let chats = json!({"model": gpt, "messages": [{"role": "user", "content": "hello", "images": ["AAAA"]}]});
    assert!(is_allowed("https://ollama.example/api/chat", &chats));
    for model in ["gpt-oss:20b-cloud", "gpt-oss:120b"] {
        let chats = with(chats.clone(), "model", &json!(model));
        assert!(!is_allowed("https://ollama.example/api/chat", &chats));
    }
}
