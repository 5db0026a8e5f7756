//! Decisions of a gateway on their way to a person: the same lines wherever they are cut, bounded, and nothing but what can be seen. The
//! first byte of an input is the length of its pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_api::gateway::Decided;
use ws_tree::{Escaped, escape::is_invisible};

use crate::lines::{Lines, Unreadable, line};

#[path = "../../cli/src/ui/json.rs"]
mod json;
#[path = "../../cli/src/decisions/lines.rs"]
mod lines;
#[allow(dead_code)]
#[path = "../../cli/src/units.rs"]
mod units;

const MAX_LINE: usize = 16 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, bytes)) = bytes.split_first() else { return };
    let pieces = bytes.chunks(usize::from(*length).max(1));
    let mut lines = Lines::default();
    let in_pieces = pieces.map(|piece| lines.push(piece)).collect::<Result<Vec<_>, _>>();
    let expected = plainly(bytes);
    assert_eq!(in_pieces.map(|decided| decided.concat()), expected, "where it is cut means nothing");
    assert_eq!(Lines::default().push(bytes), expected);
    for decided in expected.into_iter().flatten() {
        let shown = Escaped::line(line(&decided).as_bytes()).to_string();
        assert!(shown.chars().all(|character| is_seen(character) || character == '\t'), "{shown:?}");
        let document = json::document(&decided);
        assert!(document.chars().all(is_seen), "{document:?}");
        assert_eq!(serde_json::from_str::<Decided>(&document).expect("JSON"), decided);
    }
});

/// Lines that are all there.
fn plainly(bytes: &[u8]) -> Result<Vec<Decided>, Unreadable> {
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.iter().any(|line| line.len() > MAX_LINE) {
        return Err(Unreadable);
    }
    lines.pop();
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|_| Unreadable)).collect()
}

fn is_seen(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}
