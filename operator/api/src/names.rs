//! Names that become names of Kubernetes objects, checked once and then trusted.

use std::{fmt, str::FromStr};

/// Longest name of a workspace or class: the longest suffix that the operator appends still fits a DNS label.
pub const MAX_NAME: usize = 52;

/// The rule of [`WorkspaceName`] and [`ClassName`] as a regular expression, for schemas.
pub const NAME_PATTERN: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{name}` is no valid name: use 1 to 52 of a-z, 0-9 and `-`, starting with a letter and not ending with `-`"
)]
pub struct InvalidName {
    name: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $type(String);

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                if is_name(name) { Ok(Self(name.to_owned())) } else { Err(InvalidName { name: name.escape_debug().to_string() }) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Name of a Workspace, and of its pod: a DNS label (RFC 1123) of at most [`MAX_NAME`] characters that starts with a letter.
    WorkspaceName
}

name! {
    /// Name of a WorkspaceClass, which is also a label's value.
    ClassName
}

fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for name in ["a", "fix-tests", "a1", &"a".repeat(MAX_NAME)] {
            assert!(name.parse::<WorkspaceName>().is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "1a", "A", "a.b", "a_b", "a b", "ä", "a\n", &"a".repeat(MAX_NAME + 1)] {
            assert!(name.parse::<WorkspaceName>().is_err(), "{name}");
        }
    }
}
