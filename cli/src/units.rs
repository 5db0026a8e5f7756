//! Amounts as people read them.

use std::time::Duration;

/// Bytes, in decimal units as disks and networks count.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = UNITS[0];
    // In tenths, so that no floating point is needed.
    let mut tenths = count / 100;
    for next in &UNITS[1..] {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = next;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A count and its noun.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A time span in its two largest units.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, 0) => format!("{} ms", span.as_millis()),
        (0, 0, 0, seconds) if seconds < 10 => format!("{}.{} s", seconds, span.subsec_millis() / 100),
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_down_to_a_tenth() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_999_999, "1.9 MB"),
            (u64::MAX, "18446744.0 TB"),
        ];
        for (count, text) in table {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn spans_have_two_units() {
        let table = [
            (7, "7 ms"),
            (1_234, "1.2 s"),
            (59_999, "59 s"),
            (61_000, "1m01s"),
            (3_660_000, "1h01m"),
            (90_000_000, "1d01h"),
        ];
        for (millis, text) in table {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }
}
