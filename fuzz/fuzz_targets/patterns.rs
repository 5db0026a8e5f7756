//! A plain reading of gitignore(5), without classes and escapes.

/// Whether lines of an ignore file leave out a path beneath it. The last that matches decides.
pub fn is_ignored<'a>(lines: impl Iterator<Item = &'a str>, path: &str, is_directory: bool) -> bool {
    lines.filter_map(|line| verdict(line, path, is_directory)).last().unwrap_or(false)
}

fn verdict(line: &str, path: &str, is_directory: bool) -> Option<bool> {
    let line = line.trim_end_matches(' ');
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (is_ignored, pattern) = line.strip_prefix('!').map_or((true, line), |pattern| (false, pattern));
    let (is_for_directories, pattern) =
        pattern.strip_suffix('/').map_or((false, pattern), |pattern| (true, pattern));
    let names: Vec<_> = path.split('/').collect();
    let matches = if pattern.contains('/') {
        let mut pattern: Vec<_> = pattern.strip_prefix('/').unwrap_or(pattern).split('/').collect();
        if pattern.last() == Some(&"**") {
            // At the end it stands for at least one.
            pattern.push("*");
        }
        fits(&pattern, &names, |name| *name == "**", |one, name| is_called(one.as_bytes(), name.as_bytes()))
    } else {
        names.last().is_some_and(|name| is_called(pattern.as_bytes(), name.as_bytes()))
    };
    (matches && (is_directory || !is_for_directories)).then_some(is_ignored)
}

fn is_called(pattern: &[u8], name: &[u8]) -> bool {
    fits(pattern, name, |sign| *sign == b'*', |sign, byte| *sign == b'?' || sign == byte)
}

/// Whether a pattern fits the whole of something. What stands for any number takes as few as will do.
fn fits<P, T>(
    pattern: &[P],
    text: &[T],
    is_any: impl Fn(&P) -> bool,
    is_one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut done, mut any) = (0, 0, None);
    while let Some(next) = text.get(done) {
        match pattern.get(at) {
            Some(sign) if is_any(sign) => {
                any = Some((at + 1, done));
                at += 1;
            }
            Some(sign) if is_one(sign, next) => (at, done) = (at + 1, done + 1),
            _ => {
                let Some((after, taken)) = any else { return false };
                (at, done) = (after, taken + 1);
                any = Some((at, done));
            }
        }
    }
    pattern[at..].iter().all(is_any)
}
