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
";
const ANTHROPIC: &str = "https://api.anthropic.com/v1/messages?beta=true";
const OPENAI: &str = "https://api.openai.com/v1/responses";
const GOOGLE: &str =
    "https://generativelanguage.googleapis.com/v1beta/models/gemini:streamGenerateContent?alt=sse";
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

fn is_allowed(url: &str, body: &Value) -> bool {
    let environment = Environment::new();
    fs::write(environment.project().join("class.yaml"), CLASS).unwrap();
    fs::write(environment.project().join("body.json"), body.to_string()).unwrap();
    let test = ["policy", "test", "models", "POST", url, "--file", "class.yaml", "--body", "body.json"];
    let outcome = environment.run(&test);
    let is_allowed = outcome.code == Some(0);
    assert!(is_allowed || outcome.to_string().contains("its body has"), "{body}: {outcome}");
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
        (OPENAI, json!({"model": "m", "input": "", "tools": [{"type": "namespace", "tools": search}]})),
        (
            OPENAI,
            json!({"model": "m", "input": "", "tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}),
        ),
        (GOOGLE, contents(&json!({"fileData": file}))),
        (GOOGLE, contents(&json!({"functionResponse": {"parts": [{"fileData": file}]}}))),
        (GOOGLE, contents(&json!({"function_response": {"parts": [{"file_data": file}]}}))),
        (GOOGLE, json!({"contents": [], "system_instruction": {"parts": [{"fileData": file}]}})),
    ] {
        assert!(!is_allowed(url, &body), "{body}");
    }
}
