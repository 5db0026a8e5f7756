//! Words of a command line as one line for a POSIX shell (IEEE 1003.1-2024, Shell Command Language §2.2.2).

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

/// One word is a line already, as with `ssh` and `sh -c`; several are words that arrive as they are.
pub fn command_line(words: &[OsString]) -> Vec<u8> {
    match words {
        [line] => line.as_bytes().to_vec(),
        words => words.iter().map(|word| quote(word.as_bytes())).collect::<Vec<_>>().join(&b' '),
    }
}

/// A word that the shell takes as it is.
pub fn quote(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn several_words_arrive_as_they_are() {
        let words = ["printf", "%s|", "a b", "it's", "$HOME", "`id`", "", "a\nb", "*", "~", "\\", "-n", "é"];
        let words = words.map(OsString::from);
        let output =
            Command::new("sh").arg("-c").arg(OsString::from_vec(command_line(&words))).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "a b|it's|$HOME|`id`||a\nb|*|~|\\|-n|é|");
    }

    #[test]
    fn one_word_is_a_line() {
        assert_eq!(command_line(&["echo $((1+1)) | cat".into()]), b"echo $((1+1)) | cat");
    }

    use std::os::unix::ffi::OsStringExt as _;
}
