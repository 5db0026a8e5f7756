//! Image references and the patterns of a class that allow them.
//!
//! References are read as containerd reads them, so that what was allowed is what will be pulled: a reference without a
//! host means `docker.io`, one of a single component there means `library/…`, and beside a digest a tag means nothing.

use std::{fmt, str::FromStr};

/// Most characters of a reference that the schema lets pass.
const MAX_REFERENCE: usize = 512;

/// An image reference in its long form (`host/path:tag` or `host/path@digest`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// `host/path`.
    repository: String,
    version: Version,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Version {
    Tag(String),
    Digest(String),
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no image reference")]
pub struct InvalidReference(String);

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        parse(text).ok_or_else(|| InvalidReference(text.escape_debug().take(MAX_REFERENCE).collect()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Version::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

impl Reference {
    /// Whether an entry of a class's `allowedImages` names this image.
    ///
    /// An entry is a reference, or ends with `/*` (everything below), `:*` (every tag) or `@*` (every digest). A `*`
    /// elsewhere allows nothing: `ghcr.io/acme*` would allow `ghcr.io/acme-of-somebody-else/…` as well.
    pub fn is_allowed_by(&self, entry: &str) -> bool {
        let Some(prefix) = entry.strip_suffix('*') else {
            return entry.parse::<Self>().is_ok_and(|allowed| allowed == *self);
        };
        if let Some(repository) = prefix.strip_suffix(':') {
            return self.is_of(repository) && matches!(self.version, Version::Tag(_));
        }
        if let Some(repository) = prefix.strip_suffix('@') {
            return self.is_of(repository) && matches!(self.version, Version::Digest(_));
        }
        match prefix.strip_suffix('/') {
            Some(below) => match long_prefix(below) {
                Some(long) => self.repository.strip_prefix(&long).is_some_and(|rest| rest.starts_with('/')),
                None => false,
            },
            None => false,
        }
    }

    /// Whether the image is `repository`, or below it.
    pub fn is_within(&self, repository: &str) -> bool {
        long_repository(repository).is_some_and(|long| {
            self.repository.strip_prefix(&long).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn is_of(&self, repository: &str) -> bool {
        long_repository(repository).is_some_and(|long| long == self.repository)
    }
}

fn parse(text: &str) -> Option<Reference> {
    if text.len() > MAX_REFERENCE {
        return None;
    }
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it starts the host's port.
    let (repository, tag) = match named.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (named, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) || digest.is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    let version = match digest {
        Some(digest) => Version::Digest(digest.to_owned()),
        None => Version::Tag(tag.unwrap_or("latest").to_owned()),
    };
    let reference = Reference { repository: long_repository(repository)?, version };
    // As a pod's spec has it.
    (reference.to_string().len() <= MAX_REFERENCE).then_some(reference)
}

/// `host/path` of a repository as a person writes it.
fn long_repository(short: &str) -> Option<String> {
    let (host, path) = split_host(short);
    let path =
        if host == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
    (is_host(host) && path.split('/').all(is_component)).then(|| format!("{host}/{path}"))
}

/// `host` or `host/path` of what stands before `/*`.
fn long_prefix(short: &str) -> Option<String> {
    if !short.contains('/') && looks_like_host(short) {
        return is_host(short).then(|| short.to_owned());
    }
    let (host, path) = split_host(short);
    (is_host(host) && path.split('/').all(is_component)).then(|| format!("{host}/{path}"))
}

const DOCKER_HUB: &str = "docker.io";

fn split_host(repository: &str) -> (&str, &str) {
    match repository.split_once('/') {
        Some(("index.docker.io", path)) => (DOCKER_HUB, path),
        Some((host, path)) if looks_like_host(host) => (host, path),
        _ => (DOCKER_HUB, repository),
    }
}

fn looks_like_host(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':'])
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "443"));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    name.split('.').all(label) && is_port
}

/// A path component of the distribution specification: lower-case words, joined by `.`, `_`, `__` or dashes.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    component.bytes().all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
        && component.bytes().next().is_some_and(word)
        && component.bytes().next_back().is_some_and(word)
        && !component.contains("..")
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match digest.split_once(':') {
        Some(("sha256", value)) => hex(value, 64),
        Some(("sha512", value)) => hex(value, 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn references_are_read_as_the_runtime_reads_them() {
        for (short, long) in [
            ("ubuntu", "docker.io/library/ubuntu:latest".to_owned()),
            ("acme/app:1", "docker.io/acme/app:1".into()),
            ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest".into()),
            ("localhost/app", "localhost/app:latest".into()),
            ("localhost:5000/app:1", "localhost:5000/app:1".into()),
            ("ghcr.io/acme/a/b:1.0_x-y", "ghcr.io/acme/a/b:1.0_x-y".into()),
            (&format!("ghcr.io/acme/app:1@{DIGEST}"), format!("ghcr.io/acme/app@{DIGEST}")),
        ] {
            assert_eq!(reference(short).to_string(), long);
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "Ubuntu",
            "ghcr.io/",
            "ghcr.io//x",
            "/x",
            "ghcr.io/acme/../evil",
            "a b",
            "x:",
            "x@",
            "x@sha256:00",
            "x:-1",
            "ghcr.io/acme/app:1:2",
            "http://ghcr.io/x",
            "ghcr.io:99999/x",
            "ghcr.io:+80/x",
            "x\n",
            "-x",
            "x/.hidden",
            "user@ghcr.io/x",
            &"x".repeat(MAX_REFERENCE + 1),
            // As long as may be, and longer in full.
            &format!("{}x", "x/".repeat(MAX_REFERENCE / 2 - 1)),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!(format!("ghcr.io/{}x", "x/".repeat(200)).parse::<Reference>().is_ok());
    }

    #[test]
    fn an_entry_allows_what_it_names_and_nothing_beside() {
        let digest = format!("ghcr.io/acme/app@{DIGEST}");
        for (entry, image, allowed) in [
            ("ghcr.io/acme/*", "ghcr.io/acme/app:1", true),
            ("ghcr.io/acme/*", "ghcr.io/acme/deep/app", true),
            ("ghcr.io/acme/*", &digest, true),
            ("ghcr.io/acme/*", "ghcr.io/acme-evil/app", false),
            ("ghcr.io/acme/*", "ghcr.io.evil.example/acme/app", false),
            ("ghcr.io/acme/*", "evil.example/ghcr.io/acme/app", false),
            ("ghcr.io/acme/*", "acme/app", false),
            ("ghcr.io/*", "ghcr.io/anyone/app", true),
            ("ghcr.io/*", "ghcr.io.evil.example/app", false),
            ("acme/*", "docker.io/acme/app", true),
            ("acme/*", "ghcr.io/acme/app", false),
            ("docker.io/library/*", "ubuntu", true),
            ("docker.io/library/*", "acme/ubuntu", false),
            ("ghcr.io/acme*", "ghcr.io/acme/app", false),
            ("*", "ubuntu", false),
            ("/*", "ubuntu", false),
            ("ghcr.io/acme/app:*", "ghcr.io/acme/app:2", true),
            ("ghcr.io/acme/app:*", "ghcr.io/acme/app2:2", false),
            ("ghcr.io/acme/app:*", &digest, false),
            ("ghcr.io/acme/app@*", &digest, true),
            ("ghcr.io/acme/app@*", "ghcr.io/acme/app:1", false),
            ("ubuntu:24.04", "docker.io/library/ubuntu:24.04", true),
            ("ubuntu:24.04", "ubuntu", false),
            ("ghcr.io/acme/app", "ghcr.io/acme/app:latest", true),
            ("ghcr.io/acme/app:1", &digest, false),
            (&digest, &format!("ghcr.io/acme/app:1@{DIGEST}"), true),
        ] {
            assert_eq!(reference(image).is_allowed_by(entry), allowed, "{entry} and {image}");
        }
    }

    #[test]
    fn a_stock_image_is_a_repository_and_what_is_below_it() {
        for (image, within) in [
            ("ghcr.io/ws-dev/workspace:1", true),
            ("ghcr.io/ws-dev/workspace/python:1", true),
            ("ghcr.io/ws-dev/workspace-of-another:1", false),
            ("ws-dev/workspace:1", false),
        ] {
            assert_eq!(reference(image).is_within("ghcr.io/ws-dev/workspace"), within, "{image}");
        }
    }
}
