//! JSON documents as one reading of them, and what a rule says about them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use ws_api::egress;

/// What has to hold for a document.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JsonRule {
    required: Vec<Place>,
    forbidden: Vec<Place>,
    values: Vec<(Place, Vec<TextPattern>)>,
}

/// Why a document is denied.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Offence {
    #[error("its body is not JSON with one meaning")]
    Ambiguous,
    #[error("its body lacks `{0}`")]
    Missing(String),
    #[error("its body has `{0}`")]
    Forbidden(String),
    #[error("its body has another value at `{0}` than the rule lists")]
    Value(String),
}

/// A place that cannot be written so.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no place in a document: write `key`, `key.key` or `key[].key`")]
pub struct InvalidPlace(String);

impl JsonRule {
    pub fn compile(json: &egress::Json) -> Result<Self, InvalidPlace> {
        let places =
            |written: &[String]| written.iter().map(|place| Place::parse(place)).collect::<Result<_, _>>();
        let values = json.values.iter().map(|values| {
            let texts = values.any_of.iter().map(|text| TextPattern::parse(text)).collect();
            Ok((Place::parse(&values.at)?, texts))
        });
        Ok(Self {
            required: places(&json.required)?,
            forbidden: places(&json.forbidden)?,
            values: values.collect::<Result<_, _>>()?,
        })
    }

    /// Judges a document.
    ///
    /// # Errors
    ///
    /// The first offence.
    pub fn judge(&self, body: &[u8]) -> Result<(), Offence> {
        let Document(document) = serde_json::from_slice(body).map_err(|_| Offence::Ambiguous)?;
        if let Some(place) = self.required.iter().find(|place| place.at(&document).is_empty()) {
            return Err(Offence::Missing(place.written.clone()));
        }
        if let Some(place) = self.forbidden.iter().find(|place| !place.at(&document).is_empty()) {
            return Err(Offence::Forbidden(place.written.clone()));
        }
        let is_listed = |value: &Value, texts: &[TextPattern]| texts.iter().any(|text| text.matches(value));
        let other = self
            .values
            .iter()
            .find(|(place, texts)| !place.at(&document).iter().all(|value| is_listed(value, texts)));
        other.map_or(Ok(()), |(place, _)| Err(Offence::Value(place.written.clone())))
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    written: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// Folded.
    Key(String),
    Each,
}

impl Place {
    fn parse(written: &str) -> Result<Self, InvalidPlace> {
        let invalid = || InvalidPlace(written.to_owned());
        let mut steps = Vec::new();
        for part in written.split('.') {
            let key = part.trim_end_matches("[]");
            if key.is_empty() || key.contains(['[', ']']) {
                return Err(invalid());
            }
            steps.push(Step::Key(folded(key)));
            steps.extend(std::iter::repeat_n(Step::Each, (part.len() - key.len()) / 2));
        }
        Ok(Self { written: written.to_owned(), steps })
    }

    /// All that is there.
    fn at<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        self.steps.iter().fold(vec![document], |found, step| {
            found.into_iter().flat_map(|value| step.from(value)).collect()
        })
    }
}

impl Step {
    fn from<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Key(key), Value::Object(members)) => {
                members.iter().filter(|(name, _)| folded(name) == *key).map(|(_, value)| value).collect()
            }
            (Self::Each, Value::Array(elements)) => elements.iter().collect(),
            // Some servers take one where they expect a list of them.
            (Self::Each, one) => vec![one],
            (Self::Key(_), _) => Vec::new(),
        }
    }
}

/// Some servers read keys without regard to case (Go's `encoding/json`, also for `ſ` and the Kelvin sign).
fn folded(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum TextPattern {
    Exact(String),
    Prefix(String),
}

impl TextPattern {
    fn parse(written: &str) -> Self {
        match written.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(written.to_owned()),
        }
    }

    fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Exact(exact), Value::String(text)) => text == exact,
            (Self::Exact(exact), Value::Bool(value)) => value.to_string() == *exact,
            (Self::Prefix(prefix), Value::String(text)) => text.starts_with(prefix.as_str()),
            _ => false,
        }
    }
}

/// A document in which no object has a key twice: parsers differ in which of them counts (RFC 8259, section 4).
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict).map(Self)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated keys")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Document(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let (mut object, mut keys) = (Map::new(), std::collections::HashSet::new());
        while let Some((key, Document(value))) = members.next_entry::<String, Document>()? {
            if !keys.insert(folded(&key)) {
                return Err(A::Error::custom("a key is there twice"));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(body: &str) -> Result<(), Offence> {
        let rule = json!({
            "required": ["model"], "forbidden": ["mcp_servers", "messages[].content[].source.url"],
            "values": [
                {"at": "model", "anyOf": ["claude-*"]},
                {"at": "tools[].type", "anyOf": ["custom", "bash_*"]},
                {"at": "store", "anyOf": ["false"]},
            ],
        });
        JsonRule::compile(&serde_json::from_value(rule).unwrap()).unwrap().judge(body.as_bytes())
    }

    #[test]
    fn what_a_rule_says_holds_at_each_place() {
        let (missing, forbidden, value) = (
            |place: &str| Err(Offence::Missing(place.into())),
            |place: &str| Err(Offence::Forbidden(place.into())),
            |place: &str| Err(Offence::Value(place.into())),
        );
        let url = "messages[].content[].source.url";
        for (body, expected) in [
            (r#"{"model": "claude-x"}"#, Ok(())),
            (r#"{"model": "claude-x", "tools": []}"#, Ok(())),
            (r#"{"model": "claude-x", "tools": [{"type": "custom"}, {"type": "bash_2"}, {}]}"#, Ok(())),
            (
                r#"{"model": "claude-x", "messages": [{"content": "text"}, {"content": [{"source": {"data": ""}}]}]}"#,
                Ok(()),
            ),
            ("{}", missing("model")),
            ("[]", missing("model")),
            (r#""model""#, missing("model")),
            (r#"{"model": "gpt"}"#, value("model")),
            (r#"{"model": ["claude-x"]}"#, value("model")),
            (r#"{"model": null}"#, value("model")),
            (
                r#"{"model": "claude-x", "tools": [{"type": "custom"}, {"type": "web_fetch"}]}"#,
                value("tools[].type"),
            ),
            (r#"{"model": "claude-x", "store": false}"#, Ok(())),
            (r#"{"model": "claude-x", "store": true}"#, value("store")),
            (r#"{"model": "claude-x", "store": 0}"#, value("store")),
            (r#"{"model": "claude-x", "mcp_servers": []}"#, forbidden("mcp_servers")),
            (r#"{"model": "claude-x", "mcp_servers": null}"#, forbidden("mcp_servers")),
            (r#"{"model": "claude-x", "MCP_Servers": []}"#, forbidden("mcp_servers")),
            ("{\"model\": \"claude-x\", \"mcp_\u{17f}erver\u{17f}\": []}", forbidden("mcp_servers")),
            (r#"{"model": "claude-x", "mcp\u005fservers": []}"#, forbidden("mcp_servers")),
            (r#"{"model": "claude-x", "messages": {"content": {"source": {"url": "x"}}}}"#, forbidden(url)),
            (
                r#"{"model": "claude-x", "messages": [{}, {"content": [{"source": {"url": "x"}}]}]}"#,
                forbidden(url),
            ),
        ] {
            assert_eq!(judge(body), expected, "{body}");
        }
    }

    #[test]
    fn b22_a_document_with_two_readings_is_denied() {
        let deep = "[".repeat(10_000);
        for body in [
            "",
            "{",
            r#"{"model": "claude-x"} {"model": "gpt"}"#,
            r#"{"model": "claude-x", "model": "gpt"}"#,
            r#"{"model": "claude-x", "Model": "gpt"}"#,
            r#"{"model": "claude-x", "mod\u0065l": "gpt"}"#,
            r#"{"model": "claude-x", "a": [{"b": 1, "b": 2}]}"#,
            r#"{"model": "claude-x", "a": "\ud800"}"#,
            r#"{"model": "claude-x", "a": NaN}"#,
            r#"{"model": "claude-x",}"#,
            "{'model': 'claude-x'}",
            "\u{feff}{\"model\": \"claude-x\"}",
            &deep,
        ] {
            assert_eq!(judge(body), Err(Offence::Ambiguous), "{body}");
        }
        let utf_16: Vec<u8> = r#"{"model": "claude-x"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(JsonRule::default().judge(&utf_16), Err(Offence::Ambiguous));
    }

    #[test]
    fn a_place_that_cannot_be_is_an_error() {
        for place in ["", ".", "a.", "[]", "a[0]", "a[", "a..b", "a[]b"] {
            assert!(Place::parse(place).is_err(), "{place}");
        }
    }
}
