//! Bytes as Kubernetes writes them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const UNITS: &[(&str, u64)] = &[
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

/// Whole bytes; none for fractions, exponents and what does not fit.
pub fn bytes(quantity: &Quantity) -> Option<u64> {
    let (digits, unit) =
        UNITS.iter().find_map(|(suffix, unit)| Some((quantity.0.strip_suffix(suffix)?, unit)))?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse::<u64>().ok()?.checked_mul(*unit) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_bytes_are_read() {
        for (written, expected) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("64Ki", Some(65_536)),
            ("256Mi", Some(268_435_456)),
            ("2G", Some(2_000_000_000)),
            ("1.5Gi", None),
            ("1e3", None),
            ("100m", None),
            ("Mi", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("99999999Ti", None),
        ] {
            assert_eq!(bytes(&Quantity(written.into())), expected, "{written}");
        }
    }
}
