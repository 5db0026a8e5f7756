//! A text in the spellings in which it may leave: as it is, backwards, and in digits of four, five and six bits, wherever it begins
//! among others. What a search for it looks for.

const HEXADECIMAL: (usize, &[u8]) = (4, b"0123456789abcdef");
const BASE32: (usize, &[u8]) = (5, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
const BASE64: (usize, &[u8]) = (6, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const BASE64_OF_URLS: (usize, &[u8]) =
    (6, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
/// In so many bytes, digits of each kind begin anew.
const GROUP: usize = 15;

/// Whether the text is in there, in whatever spelling.
pub fn holds(haystack: &str, text: &str) -> bool {
    spellings(text).iter().any(|spelling| haystack.contains(spelling.as_str()))
}

/// All spellings of a text, each once.
pub fn spellings(text: &str) -> Vec<String> {
    let mut spellings = vec![text.to_owned(), text.chars().rev().collect()];
    for (bits, digits) in [HEXADECIMAL, BASE32, BASE64, BASE64_OF_URLS] {
        for before in 0..GROUP {
            let spelling = in_digits(text.as_bytes(), before, bits, digits);
            if bits != BASE64.0 {
                spellings.extend([spelling.to_lowercase(), spelling.to_uppercase()]);
            }
            spellings.push(spelling);
        }
    }
    spellings.sort();
    spellings.dedup();
    spellings
}

/// The digits that depend on the text alone, if there are so many bytes before it.
fn in_digits(text: &[u8], before: usize, bits: usize, digits: &[u8]) -> String {
    let bit = |at: usize| text.get(at / 8 - before).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let (first, end) = ((before * 8).div_ceil(bits), (before + text.len()) * 8 / bits);
    let value = |digit: usize| (0..bits).fold(0, |value, place| value << 1 | bit(digit * bits + place));
    (first..end).filter_map(|digit| digits.get(usize::from(value(digit)))).copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_each_spelling() {
        // As base64 and base32 of coreutils print it, alone and with a letter or two before it.
        for (text, haystack) in [
            ("sk-lab-1?~", "before sk-lab-1?~ after"),
            ("sk-lab-1?~", "~?1-bal-ks"),
            ("sk-lab-1?~", "736b2d6c61622d313f7e"),
            ("sk-lab-1?~", "736B2D6C61622D313F7E"),
            ("sk-lab-1?~", "c2stbGFiLTE/fg=="),
            ("sk-lab-1?~", "eHNrLWxhYi0xP34="),
            ("sk-lab-1?~", "c2stbGFiLTE_fg=="),
            ("sk-lab-1?~", "ONVS23DBMIWTCP36"),
            ("sk-lab-1?~", "onvs23dbmiwtcp36"),
            ("sk-lab-1", "sk-lab-1"),
            ("sk-lab-1", "736b2d6c61622d31"),
            ("sk-lab-1", "736B2D6C61622D31"),
            ("sk-lab-1", "c2stbGFiLTE="),
            ("sk-lab-1", "eHNrLWxhYi0x"),
            ("sk-lab-1", "eHhzay1sYWItMQ=="),
        ] {
            assert!(holds(haystack, text), "{haystack}: {:?}", spellings(text));
        }
        assert!(!holds("sk-lab-2?~", "sk-lab-1?~"));
    }

    #[test]
    fn no_spelling_is_so_short_that_anything_holds_it() {
        for text in ["sk-lab-1", "0123456789abcdef"] {
            assert!(spellings(text).iter().all(|spelling| spelling.len() >= text.len()), "{text}");
        }
    }
}
