//! Names that some file system takes for the same name.
//!
//! HFS+, APFS and NTFS compare names without regard to case; HFS+ also ignores characters that are not seen and
//! normalises; NTFS drops trailing dots and spaces. A change that looks like a new file can therefore land on another
//! one. [`folded`] maps all such spellings to one key.

use unicode_normalization::UnicodeNormalization as _;

use crate::escape::is_invisible;

/// One key for every spelling of `name` that a common file system might confuse.
///
/// Bytes that are no UTF-8 are kept: no file system folds them.
pub fn folded(name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let visible = chunk.valid().chars().filter(|character| !is_invisible(*character));
        let lower: String = visible.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        // `ſ` and `K` (the Kelvin sign) fold through their upper case only.
        key.extend(
            lower
                .chars()
                .flat_map(char::to_uppercase)
                .flat_map(char::to_lowercase)
                .collect::<String>()
                .bytes(),
        );
        key.extend(chunk.invalid());
    }
    while key.last().is_some_and(|last| matches!(last, b'.' | b' ')) && key.len() > 1 {
        key.pop();
    }
    key
}

/// [`folded`] for every component of a path.
pub fn folded_path(path: &[u8]) -> Vec<u8> {
    path.split(|&byte| byte == b'/').map(folded).collect::<Vec<_>>().join(&b'/')
}

/// Whether a component is, or may become, a `.git` folder or file on some file system.
///
/// Besides case, hidden characters and trailing dots and spaces this covers the short name `GIT~1` and NTFS streams
/// (`.git::$INDEX_ALLOCATION`), see CVE-2014-9390 and CVE-2019-1353.
pub fn is_git_component(component: &[u8]) -> bool {
    let windows_parts = component.split(|&byte| byte == b'\\');
    windows_parts.map(folded).any(|part| {
        let before_stream = part.split(|&byte| byte == b':').next().unwrap_or_default();
        let name = before_stream.trim_ascii_end();
        name == b".git" || is_git_short_name(name)
    })
}

fn is_git_short_name(name: &[u8]) -> bool {
    name.strip_prefix(b"git~")
        .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

/// Whether Windows refuses the component or reads it as another name.
pub fn is_windows_reserved(component: &[u8]) -> bool {
    let lower = component.to_ascii_lowercase();
    let stem = lower.split(|&byte| byte == b'.').next().unwrap_or_default().trim_ascii_end();
    let device = matches!(stem, b"con" | b"prn" | b"aux" | b"nul" | b"conin$" | b"conout$")
        || [b"com".as_slice(), b"lpt"]
            .iter()
            .any(|port| stem.strip_prefix(*port).is_some_and(|number| matches!(number, [b'0'..=b'9'])));
    device
        || component.iter().any(|byte| matches!(byte, b'\\' | b':' | b'<' | b'>' | b'"' | b'|' | b'?' | b'*'))
        || component.last().is_some_and(|last| matches!(last, b'.' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_a_file_system_confuses_share_a_key() {
        for (left, right) in [
            ("README.md", "readme.MD"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("\u{fb01}le", "file"),
            ("a\u{200c}b", "ab"),
            ("name.", "name"),
            ("name ", "name"),
            ("\u{17f}ecret", "Secret"),
            ("\u{212a}ey", "key"),
        ] {
            assert_eq!(folded(left.as_bytes()), folded(right.as_bytes()), "{left:?} {right:?}");
        }
        assert_ne!(folded(b"a"), folded(b"b"));
        assert_eq!(folded(b"\xff\xfe"), b"\xff\xfe");
        assert_eq!(folded_path(b"A/B"), b"a/b");
    }

    #[test]
    fn every_spelling_of_a_git_folder_is_known() {
        for name in [
            ".git",
            ".GIT",
            ".Git",
            ".git ",
            ".git.",
            ".git. .",
            "git~1",
            "GIT~2",
            ".g\u{200c}it",
            "\u{200b}.git",
            ".git::$INDEX_ALLOCATION",
            ".git:x",
            "a\\.git",
            ".git\\config",
            "\u{ff0e}git",
        ] {
            assert!(is_git_component(name.as_bytes()), "{name:?}");
        }
        for name in [".gitignore", ".github", "git", "git~", "digit", ".git2", "git~x"] {
            assert!(!is_git_component(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn names_with_a_meaning_on_windows_are_known() {
        for name in
            ["CON", "con.txt", "nul ", "COM1", "lpt9.log", "a:b", "C:\\x", "\\\\?\\x", "dot.", "space "]
        {
            assert!(is_windows_reserved(name.as_bytes()), "{name:?}");
        }
        for name in ["console", "com", "com10", "aux_", "a.b", ".con"] {
            assert!(!is_windows_reserved(name.as_bytes()), "{name:?}");
        }
    }
}
