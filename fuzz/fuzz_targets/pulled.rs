//! A plain reading of references of images, as containerd has it (`ParseDockerRef` of github.com/distribution/reference).

const DOCKER_HUB: &str = "docker.io";
const MAX_PATH: usize = 255;

/// `host/path`, and the tag or the digest with its mark before it.
pub fn read(text: &str) -> Option<(String, String)> {
    let is_identifier = text.len() == 64 && text.bytes().all(is_hexadecimal);
    let (host, rest) = split_host(text);
    let (named, digest) = rest.split_once('@').map_or((rest, None), |(named, digest)| (named, Some(digest)));
    // Of a path, nothing holds a colon.
    let (path, tag) = named.split_once(':').map_or((named, None), |(path, tag)| (path, Some(tag)));
    let path =
        if host == DOCKER_HUB && !rest.contains('/') { format!("library/{path}") } else { path.into() };
    let is_read = is_host(host)
        && path.len() <= MAX_PATH
        && path.split('/').all(is_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    let version = match (digest, tag) {
        (Some(digest), _) => format!("@{digest}"),
        (None, tag) => format!(":{}", tag.unwrap_or("latest")),
    };
    (is_read && !is_identifier).then(|| (format!("{host}/{path}"), version))
}

fn split_host(text: &str) -> (&str, &str) {
    let is_host = |first: &str| {
        first.contains(['.', ':'])
            || first == "localhost"
            || first.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => (DOCKER_HUB, text),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_label = |label: &str| {
        let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        is_end(label.bytes().next())
            && is_end(label.bytes().next_back())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(is_label) && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Words, with a dot, an underscore, two of those, or dashes between each two.
fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_between =
        |between: &str| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-');
    component.bytes().next().is_some_and(is_word)
        && component.bytes().next_back().is_some_and(is_word)
        && component.split(|sign| u8::try_from(sign).is_ok_and(is_word)).all(is_between)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let digits = match digest.split_once(':') {
        Some(("sha256", digits)) if digits.len() == 64 => digits,
        Some(("sha384", digits)) if digits.len() == 96 => digits,
        Some(("sha512", digits)) if digits.len() == 128 => digits,
        _ => return false,
    };
    digits.bytes().all(is_hexadecimal)
}

fn is_hexadecimal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
