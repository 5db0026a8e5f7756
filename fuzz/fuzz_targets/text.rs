//! Text from a pod on its way to a person: nothing but what can be seen comes out, and a name still tells which one it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_api::termination::{Ending, MAX_BYTES};
use ws_tree::{Escaped, escape::is_invisible};

#[path = "../../cli/src/ui/json.rs"]
mod json;

fuzz_target!(|bytes: &[u8]| {
    let (name, line) = (Escaped::name(bytes).to_string(), Escaped::line(bytes).to_string());
    assert!(name.chars().all(is_seen), "{name:?}");
    assert!(line.chars().all(|character| is_seen(character) || character == '\t'), "{line:?}");
    assert!(line.len() <= bytes.len() * 8 && name.len() <= bytes.len() * 8);
    assert_eq!(meant(&name), bytes, "two names never look the same");
    let Ok(text) = str::from_utf8(bytes) else { return };
    let document = json::document(&text);
    assert!(document.chars().all(is_seen), "{document:?}");
    assert_eq!(serde_json::from_str::<String>(&document).expect("JSON"), text);
    if let Some(ending) = Ending::parse(text) {
        let message = ending.to_message();
        assert!(message.len() <= MAX_BYTES);
        assert_eq!(Ending::parse(&message).expect("its own message").reason, ending.reason);
    }
});

fn is_seen(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}

/// The name that is shown so.
fn meant(shown: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = shown;
    while let Some(first) = rest.chars().next() {
        let digits = |text: &str| u32::from_str_radix(text, 16).expect("digits");
        if let Some((code, after)) = rest.strip_prefix("<U+").and_then(|rest| rest.split_once('>')) {
            let character = char::from_u32(digits(code)).expect("a character");
            bytes.extend(character.encode_utf8(&mut [0; 4]).bytes());
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\\\") {
            bytes.push(b'\\');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\x") {
            bytes.push(u8::try_from(digits(&after[..2])).expect("a byte"));
            rest = &after[2..];
        } else {
            bytes.extend(first.encode_utf8(&mut [0; 4]).bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    bytes
}
