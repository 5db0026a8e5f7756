//! Names for workspaces whose user gave none: the project's folder and a few random characters.

use std::path::Path;

use rand::RngExt as _;
use ws_api::names::WorkspaceName;

use crate::error::Error;

const SUFFIX: usize = 4;
/// Without vowels, so that no words appear, and without what is easily confused.
const ALPHABET: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
/// Longest part that comes from the folder: names are typed.
const STEM: usize = 24;

/// A new name for a workspace of the project in `folder`.
pub fn generate(folder: &Path) -> Result<WorkspaceName, Error> {
    let mut random = rand::rng();
    let suffix: String = (0..SUFFIX)
        .filter_map(|_| ALPHABET.get(random.random_range(0..ALPHABET.len())))
        .map(|byte| char::from(*byte))
        .collect();
    let folder = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}-{suffix}", stem(&folder)).parse().map_err(|error| Error::internal(format!("{error}")))
}

/// What of a folder's name can be in a workspace's name.
fn stem(folder: &str) -> String {
    let mut stem = String::new();
    for character in folder.chars().map(|character| character.to_ascii_lowercase()) {
        match character {
            'a'..='z' => stem.push(character),
            '0'..='9' if !stem.is_empty() => stem.push(character),
            _ if !stem.is_empty() && !stem.ends_with('-') => stem.push('-'),
            _ => {}
        }
        if stem.len() == STEM {
            break;
        }
    }
    let stem = stem.trim_end_matches('-');
    if stem.is_empty() { "ws".to_owned() } else { stem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_the_stem() {
        let table = [
            ("my-app", "my-app"),
            ("My App (copy)", "my-app-copy"),
            ("2048", "ws"),
            ("99bottles", "bottles"),
            ("größe", "gr-e"),
            ("日本", "ws"),
            ("", "ws"),
            ("...", "ws"),
            ("-x-", "x"),
            ("a-very-long-name-of-a-folder", "a-very-long-name-of-a-fo"),
        ];
        for (folder, expected) in table {
            assert_eq!(stem(folder), expected, "{folder}");
        }
    }

    #[test]
    fn every_generated_name_is_valid_and_they_differ() {
        let names: Vec<_> = ["/tmp/x", "/", "/tmp/日本", "/tmp/a-very-long-name-of-a-folder-and-more"]
            .iter()
            .map(|folder| generate(Path::new(folder)).unwrap())
            .collect();
        assert!(names.iter().all(|name| name.as_ref().len() <= STEM + 1 + SUFFIX), "{names:?}");
        assert_ne!(generate(Path::new("/a")).unwrap(), generate(Path::new("/a")).unwrap());
    }
}
