//! Paths, queries and patterns: one canonical form, which means what was written, and which the library that sends it does not
//! change.

#![no_main]

use http::Uri;
use libfuzzer_sys::fuzz_target;
use ws_policy::{
    path::{MAX_TARGET, Path, Query, is_plain},
    pattern::PathPattern,
};

fuzz_target!(|written: &str| {
    let pattern = written.parse::<PathPattern>();
    if let Ok(path) = Path::parse(written) {
        let canonical = path.as_str();
        assert_eq!(Path::parse(canonical).as_ref(), Ok(&path), "canonicalising is idempotent");
        assert!(canonical.len() <= written.len());
        let segments = |path: &str| path.split('/').map(decoded).collect::<Vec<_>>();
        assert_eq!(segments(canonical), segments(written), "it means the same");
        let is_open = path.segments().all(is_plain);
        let any: PathPattern = "/**".parse().expect("a pattern");
        assert_eq!(any.matches(&path), is_open);
        if is_open {
            // However it is split and decoded, it leads nowhere else.
            let whole = String::from_utf8(decoded(canonical)).expect("text");
            for segment in whole.split(['/', '\\']) {
                assert!(!matches!(segment.trim_matches(' '), "." | ".."), "{whole:?}");
            }
            assert!(!whole.contains("//") && !whole.contains(['\\', '?', '#', ';', '%']));
        }
        let uri: Uri = canonical.parse().expect("a path of ours is one of a URL");
        assert_eq!((uri.path(), uri.query()), (canonical, None));
        if let Ok(pattern) = &pattern {
            assert!(pattern.matches(&path) || !is_open, "a path that is a pattern matches itself");
        }
    }
    if let Ok(query) = Query::parse(written) {
        let canonical = query.to_string();
        assert_eq!(Query::parse(&canonical).as_ref(), Ok(&query), "canonicalising is idempotent");
        let pairs =
            |query: &str| query.split('&').filter(|pair| !pair.is_empty()).map(decoded).collect::<Vec<_>>();
        assert_eq!(pairs(&canonical), pairs(written), "it means the same");
        assert_eq!(query.is_empty(), canonical.is_empty());
        if !query.is_empty() && canonical.len() < MAX_TARGET {
            let uri: Uri = format!("/?{canonical}").parse().expect("a query of ours is one of a URL");
            assert_eq!((uri.path(), uri.query()), ("/", Some(canonical.as_str())));
        }
    }
});

fn decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if let (b'%', [_, _, next @ ..]) = (first, after) {
            decoded.push(u8::from_str_radix(&text[text.len() - after.len()..][..2], 16).expect("two digits"));
            rest = next;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    decoded
}
