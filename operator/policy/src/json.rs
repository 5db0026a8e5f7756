//! JSON documents as one reading of them, and what a rule says about them.

use ws_api::egress;

mod reading;

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
    #[error("its body has more parts than are looked into")]
    TooManyParts,
    #[error("its body lacks `{0}`")]
    Missing(String),
    #[error("its body has `{0}`")]
    Forbidden(String),
    #[error("its body has another value at `{0}` than the rule lists")]
    Value(String),
}

/// A place that cannot be written so.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a valid place in a document: write `key`, `key.key` or `key[].key`")]
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

    /// Judges a document. It is read once, and nothing of it is kept.
    ///
    /// # Errors
    ///
    /// The first offence.
    pub fn judge(&self, body: &[u8]) -> Result<(), Offence> {
        reading::judge(self, body)
    }

    /// All places that it names, each with what is to be there.
    fn places(&self) -> impl Iterator<Item = (&Place, Demand<'_>)> {
        let required = self.required.iter().map(|place| (place, Demand::Required));
        let forbidden = self.forbidden.iter().map(|place| (place, Demand::Forbidden));
        let values = self.values.iter().map(|(place, texts)| (place, Demand::OneOf(texts)));
        required.chain(forbidden).chain(values)
    }
}

/// What a rule demands of a place.
#[derive(Clone, Copy, Debug)]
enum Demand<'a> {
    Required,
    Forbidden,
    OneOf(&'a [TextPattern]),
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
            steps.push(Step::Key(folded(key).collect()));
            steps.extend(std::iter::repeat_n(Step::Each, (part.len() - key.len()) / 2));
        }
        Ok(Self { written: written.to_owned(), steps })
    }
}

/// Some servers read keys without regard to case (Go's `encoding/json`, also for `ſ` and the Kelvin sign).
fn folded(key: &str) -> impl Iterator<Item = char> {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
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

    fn matches(&self, value: Found<'_>) -> bool {
        match (self, value) {
            (Self::Exact(exact), Found::Text(text)) => text == exact,
            (Self::Exact(exact), Found::Bool(value)) => value.to_string() == *exact,
            (Self::Prefix(prefix), Found::Text(text)) => text.starts_with(prefix.as_str()),
            _ => false,
        }
    }
}

/// What stands at a place, as far as it matters.
#[derive(Clone, Copy, Debug)]
enum Found<'a> {
    Text(&'a str),
    Bool(bool),
    Other,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{reading::MOST_PARTS, *};

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
                r#"{"model": "claude-x", "messages": [[[{"content": [[{"source": {"url": "x"}}]]}]]]}"#,
                forbidden(url),
            ),
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
    fn b22_the_deepest_document_takes_little_of_a_stack() {
        // A quarter of what a thread of the gateway has, also where nothing is optimised.
        const STACK: usize = 512 << 10;
        for (open, close) in [("[", "]"), ("{\"a\": ", "}")] {
            let deep = |depth: usize| {
                format!(r#"{{"model": "claude-x", "a": {}0{}}}"#, open.repeat(depth), close.repeat(depth))
            };
            let thread = std::thread::Builder::new().stack_size(STACK);
            let judged = thread.spawn(move || [judge(&deep(126)), judge(&deep(127))]).unwrap().join();
            assert_eq!(judged.unwrap(), [Ok(()), Err(Offence::Ambiguous)]);
        }
    }

    #[test]
    fn b22_a_document_has_so_many_parts() {
        let list = |length| format!(r#"{{"model": "claude-x", "a": [{}0]}}"#, "0,".repeat(length));
        assert_eq!(judge(&list(MOST_PARTS / 2)), Ok(()));
        assert_eq!(judge(&list(MOST_PARTS)), Err(Offence::TooManyParts));
        let objects = |depth: usize, keys: usize| {
            let members = (0..keys).map(|key| format!("\"{key}\": 0, ")).collect::<Vec<_>>().concat();
            let opened = format!("{{{members}\"last\": ").repeat(depth);
            format!(r#"{{"model": "claude-x", "a": {opened}0{}}}"#, "}".repeat(depth))
        };
        assert_eq!(judge(&objects(100, 100)), Ok(()));
        assert_eq!(judge(&objects(100, 2_000)), Err(Offence::TooManyParts), "of keys that are remembered");
    }

    #[test]
    fn a_place_that_cannot_be_is_an_error() {
        for place in ["", ".", "a.", "[]", "a[0]", "a[", "a..b", "a[]b"] {
            assert!(Place::parse(place).is_err(), "{place}");
        }
    }
}
