//! Documents that a rule looks into: what it accepts has one reading, and in that reading keeps to the rule.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use ws_api::egress;
use ws_policy::json::{JsonRule, Offence};

static RULE: LazyLock<JsonRule> = LazyLock::new(|| {
    let json: egress::Json = serde_json::from_str(
        r#"{"required": ["m"], "forbidden": ["f", "a[].b.f", "a[][].f"],
            "values": [{"at": "m", "anyOf": ["x*", "true"]}, {"at": "a[].t", "anyOf": ["y"]}]}"#,
    )
    .expect("a rule");
    JsonRule::compile(&json).expect("a rule")
});

fuzz_target!(|body: &[u8]| {
    let text = str::from_utf8(body);
    if let Ok(json) = serde_json::from_slice::<egress::Json>(body) {
        // What an admin writes compiles or is refused, and judges.
        if let Ok(rule) = JsonRule::compile(&json) {
            let _ = rule.judge(body);
        }
    }
    let verdict = RULE.judge(body);
    if verdict == Err(Offence::Ambiguous) {
        return;
    }
    // Another reader, which takes the last of several members of one name.
    let document: Value = serde_json::from_slice(body).expect("what has one meaning is JSON");
    assert_eq!(members(&document), colons(text.expect("JSON is text")), "no member is there twice");
    let again = serde_json::to_vec(&document).expect("a document");
    assert_eq!(RULE.judge(&again), verdict, "it is judged by what it means");
    let is_allowed = document.is_object()
        && at(&document, "m").next().is_some()
        && at(&document, "m").all(|value| {
            let is_named = |text: &str| text == "true" || text.starts_with('x');
            value == &Value::Bool(true) || value.as_str().is_some_and(is_named)
        })
        && at(&document, "f").next().is_none()
        && each(&document, "a").all(|element| {
            at(element, "b").all(|b| at(b, "f").next().is_none())
                && at(element, "t").all(|t| t == "y")
                && elements(element).iter().all(|inner| at(inner, "f").next().is_none())
        });
    assert_eq!(verdict.is_ok(), is_allowed);
});

/// The members of an object that some server takes for this name; some take lists of objects, and lists of those, for one.
fn at<'a>(value: &'a Value, name: &'static str) -> impl Iterator<Item = &'a Value> {
    let members = objects(value).into_iter().flatten();
    members.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn each<'a>(value: &'a Value, name: &'static str) -> impl Iterator<Item = &'a Value> {
    at(value, name).flat_map(elements)
}

/// Those of a list; some servers take one where they expect a list of them.
fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn objects(value: &Value) -> Vec<&Map<String, Value>> {
    match value {
        Value::Array(elements) => elements.iter().flat_map(objects).collect(),
        value => value.as_object().into_iter().collect(),
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(members).sum(),
        _ => 0,
    }
}

/// Colons outside of strings: one a member.
fn colons(text: &str) -> usize {
    let (mut count, mut is_string, mut is_escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b':' if !is_string => count += 1,
            _ => {}
        }
    }
    count
}
