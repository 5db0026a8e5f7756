//! Text for people. What others wrote is made fit to be shown: termination messages are a hostile pod's, and the cluster
//! quotes them.

use std::time::Duration;

/// Most characters that are kept.
const MAX: usize = 600;

/// `text` on one line, with everything that does not print (controls, bidirectional overrides, zero-width characters)
/// escaped as `\u{…}`, and cut.
pub fn printable(text: &str) -> String {
    let mut shown: String = text.trim().chars().take(MAX).flat_map(escaped).take(MAX).collect();
    if text.trim().chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (verbatim, escape) = match c {
        '\n' | '\r' | '\t' => (Some(' '), None),
        '\'' | '"' => (Some(c), None),
        _ => (None, Some(c.escape_debug())),
    };
    verbatim.into_iter().chain(escape.into_iter().flatten())
}

/// A time as one writes it in a class: `24h`, `1h30m`, `90s` as `1m30s`.
pub fn hours(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let parts: Vec<_> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if parts.is_empty() { "0s".into() } else { parts.concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_print_is_escaped() {
        for (text, shown) in [
            ("  plain \"text\" - it's\n", "plain \"text\" - it's"),
            ("a\nb\tc", "a b c"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("a\u{200b}b", "a\\u{200b}b"),
            ("\\u{1b}", "\\\\u{1b}"),
            ("größer 🦀", "größer 🦀"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn a_time_reads_as_it_is_written() {
        for (seconds, text) in [(0, "0s"), (90, "1m30s"), (5400, "1h30m"), (86_400, "24h"), (3601, "1h1s")] {
            assert_eq!(hours(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        for text in ["x".repeat(5000), "\u{1}".repeat(5000), "🦀".repeat(5000)] {
            assert_eq!(printable(&text).chars().count(), MAX + 1);
        }
    }
}
