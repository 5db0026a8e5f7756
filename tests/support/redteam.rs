//! The codes that `tests/redteam.md` explains.

/// The codes that a test's name begins with, of the groups A to G: `B03` and `B04` of `b03_b04_a_name_is_the_connections`.
pub fn codes(name: &str) -> impl Iterator<Item = String> {
    let is_code = |word: &&str| {
        word.len() == 3
            && word.starts_with(|letter: char| ('a'..='g').contains(&letter))
            && word.bytes().skip(1).all(|digit| digit.is_ascii_digit())
    };
    name.split('_').take_while(is_code).map(str::to_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_codes() {
        for (name, expected) in [
            ("b03_b04_a_name_is_the_connections", &["B03", "B04"][..]),
            ("b20_many_requests", &["B20"]),
            ("a_b12_is_no_code", &[]),
            ("a_name", &[]),
        ] {
            assert_eq!(codes(name).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}
