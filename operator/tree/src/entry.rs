//! What can stand at a path: a folder, a file or a symbolic link. Nothing else travels.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::Digest;
use crate::escape::Escaped;
use crate::path::TreePath;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Directory,
    File(FileEntry),
    Symlink(Target),
}

/// A regular file: all of its metadata that travels, and its content by digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Whether its owner may execute it; the rest of a mode does not travel.
    pub executable: bool,
    /// Bytes of content.
    pub size: u64,
    /// Digest of the content.
    pub digest: Digest,
}

/// What a symbolic link points at: not empty, no NUL, shorter than `PATH_MAX`. It may point anywhere; see
/// [`Target::stays_inside`].
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Box<[u8]>);

/// Why bytes cannot be the target of a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the target of a symbolic link is empty, too long or contains a NUL byte")]
pub struct TargetError;

impl Target {
    /// Longest target in bytes.
    pub const MAX_BYTES: usize = 4095;

    /// Validates `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, TargetError> {
        if bytes.is_empty() || bytes.len() > Self::MAX_BYTES || bytes.contains(&0) {
            return Err(TargetError);
        }
        Ok(Self(bytes.into()))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a link at `link` with this target cannot lead out of the project, whatever other links that pass this
    /// test stand in it.
    ///
    /// `..` is allowed only at the start, where it climbs real folders. After a name it could climb out of whatever
    /// that name links to.
    pub fn stays_inside(&self, link: &TreePath) -> bool {
        if self.0.starts_with(b"/") {
            return false;
        }
        let mut climbable = link.ancestors().count();
        let mut named = false;
        for component in self.0.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." if named || climbable == 0 => return false,
                b".." => climbable -= 1,
                _ => named = true,
            }
        }
        true
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::name(&self.0).fmt(f)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// A kind of file that cannot travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialKind {
    Fifo,
    Socket,
    Device,
    /// A symbolic link that leads, or might lead, out of the project.
    OutsideLink,
    /// A file, link or folder that could not be read.
    Unreadable,
    /// A path too long or too deep to travel.
    OversizedPath,
}

impl fmt::Display for SpecialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::OutsideLink => "a symbolic link that leads out of the project",
            Self::Unreadable => "not readable",
            Self::OversizedPath => "a path that is too long or too deep",
        })
    }
}

/// A modification time with the precision of the file system; seconds since 1970, may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The present.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        }
    }

    /// This moment, `duration` earlier.
    #[must_use]
    pub fn earlier(self, duration: Duration) -> Self {
        let nanoseconds = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds);
        let earlier = nanoseconds - i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
        Self {
            seconds: i64::try_from(earlier.div_euclid(1_000_000_000)).unwrap_or(i64::MIN),
            nanoseconds: u32::try_from(earlier.rem_euclid(1_000_000_000)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_inside_only_if_no_other_link_can_change_that() {
        let table = [
            ("a", "b", true),
            ("a", "./b/c", true),
            ("a", "..", false),
            ("a", "../b", false),
            ("a", "/etc/passwd", false),
            ("d/a", "../b", true),
            ("d/a", "..", true),
            ("d/a", "../..", false),
            ("d/e/a", "../../x", true),
            ("d/e/a", "../../../x", false),
            ("d/e/a", "x/../y", false),
            ("a", "b//c", true),
            ("a", "a", true),
        ];
        for (link, target, inside) in table {
            let link = TreePath::parse(link.as_bytes()).unwrap();
            assert_eq!(
                Target::parse(target.as_bytes()).unwrap().stays_inside(&link),
                inside,
                "{link} -> {target}"
            );
        }
    }

    #[test]
    fn a_target_is_a_c_string_of_bounded_length() {
        for bad in [b"".as_slice(), b"a\0b", &[b'a'; 4096]] {
            assert_eq!(Target::parse(bad), Err(TargetError));
        }
    }

    #[test]
    fn time_is_subtracted_across_the_second() {
        let time = Timestamp { seconds: 1, nanoseconds: 5 };
        assert_eq!(time.earlier(Duration::from_nanos(6)), Timestamp { seconds: 0, nanoseconds: 999_999_999 });
    }
}
