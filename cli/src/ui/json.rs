//! JSON that is printed where a person may see it.

use std::fmt::Write as _;

use serde::Serialize;
use ws_tree::escape::is_invisible;

/// JSON of visible characters only: JSON itself (RFC 8259 §7) escapes no more than the first 32.
pub fn document(value: &impl Serialize) -> String {
    let document = serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned());
    let mut visible = String::with_capacity(document.len());
    for character in document.chars() {
        if character.is_control() || is_invisible(character) {
            // Such characters occur only in strings, where each UTF-16 unit can be written as an escape.
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(visible, "\\u{unit:04x}");
            }
        } else {
            visible.push(character);
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_carries_hostile_text_without_showing_it() {
        let hostile = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}b\u{e0041}\u{7f}";
        let document = document(&hostile);
        assert_eq!(document, r#""a\u001b]0;x\u0007\u009b31m\u202eb\udb40\udc41\u007f""#);
        assert_eq!(serde_json::from_str::<String>(&document).unwrap(), hostile);
    }
}
