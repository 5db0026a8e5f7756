//! References of images, and what of a class allows them: what was allowed is what is pulled, and an entry allows what it names and
//! nothing beside. An input is a reference and an entry.

#![no_main]

use libfuzzer_sys::fuzz_target;

use crate::{image::Reference, parts::parts};

#[path = "../../operator/src/validate/image.rs"]
mod image;
mod parts;
mod pulled;

const MAX_REFERENCE: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let [written, entry] = parts(bytes).map(String::from_utf8_lossy);
    let Ok(reference) = written.parse::<Reference>() else { return };
    let long = reference.to_string();
    assert_eq!(long.parse().as_ref(), Ok(&reference), "its long form is the same");
    assert!(written.len() <= MAX_REFERENCE);
    assert!(long.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./:@_-".contains(&byte)), "{long}");
    for text in [&*written, &*long] {
        if let Some((repository, version)) = pulled::read(text) {
            assert_eq!(long, repository + &version, "{text} is pulled");
        }
    }
    let version = long.find('@').or_else(|| long.rfind(':')).expect("it has a version");
    let (repository, version) = long.split_at(version);
    is_allowed_by_its_own(&reference, repository, version);
    is_allowed_by_what_names_it(&reference, (repository, version), &entry);
});

fn is_allowed_by_its_own(reference: &Reference, repository: &str, version: &str) {
    let other = if version.starts_with('@') { ":" } else { "@" };
    assert!(reference.is_allowed_by(&format!("{repository}{version}")));
    assert!(reference.is_allowed_by(&format!("{repository}{}*", &version[..1])));
    assert!(!reference.is_allowed_by(&format!("{repository}{other}*")));
    assert!(reference.is_within(repository));
    for (end, _) in repository.match_indices('/') {
        assert!(reference.is_allowed_by(&format!("{}/*", &repository[..end])));
        // What only begins like it.
        assert!(!reference.is_allowed_by(&format!("{}/*", &repository[..end - 1])));
        assert!(!reference.is_allowed_by(&format!("{}*", &repository[..end])));
    }
    let shorter = &repository[..repository.len() - 1];
    assert!(!reference.is_within(shorter) && !reference.is_allowed_by(&format!("{shorter}:*")));
}

fn is_allowed_by_what_names_it(reference: &Reference, (repository, version): (&str, &str), entry: &str) {
    let is_allowed = reference.is_allowed_by(entry);
    if let Some(expected) = is_named(entry, repository, version) {
        assert_eq!(is_allowed, expected, "{entry} and {repository}{version}");
    }
    if let Some(before) = entry.strip_suffix('*').filter(|_| is_allowed) {
        let whole = format!("{repository}{version}");
        assert!(longer(before).iter().any(|before| whole.starts_with(before)), "{entry} and {whole}");
        assert!(before.ends_with(['/', ':', '@']) && !before.contains('*'), "{entry} allows something");
    }
    if reference.is_within(entry) {
        let below = format!("{repository}/");
        assert!(longer(entry).iter().any(|entry| below.starts_with(&format!("{entry}/"))));
    }
}

/// What may be meant by something short.
fn longer(short: &str) -> [String; 4] {
    let hub = short.strip_prefix("index.docker.io/").or_else(|| short.strip_prefix("docker.io/"));
    let hub = hub.unwrap_or(short);
    [short.to_owned(), hub.to_owned(), format!("docker.io/{hub}"), format!("docker.io/library/{hub}")]
}

/// Whether an entry names this, if the plain reading knows what it says.
fn is_named(entry: &str, repository: &str, version: &str) -> Option<bool> {
    if entry.len() > MAX_REFERENCE {
        return None;
    }
    let Some(before) = entry.strip_suffix('*') else {
        return pulled::read(entry).map(|(of, at)| of == repository && at == version);
    };
    if let Some(folder) = before.strip_suffix('/') {
        let is_host = !folder.contains('/') && (folder.contains(['.', ':']) || folder == "localhost");
        let below = if is_host { format!("{folder}/x") } else { pulled::read(&format!("{folder}/x"))?.0 };
        return Some(repository.starts_with(below.strip_suffix('x')?));
    }
    let Some(of) = before.strip_suffix([':', '@']) else { return Some(false) };
    let last = of.rsplit('/').next().unwrap_or_default();
    let (named, _) = pulled::read(of).filter(|_| !last.contains([':', '@']))?;
    Some(named == repository && before.ends_with(&version[..1]))
}
