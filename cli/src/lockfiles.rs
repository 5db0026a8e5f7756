//! Names of packages that a project's lockfiles name: what a class may let its workspaces fetch, and nothing that an agent comes up with.
//!
//! Lockfiles are written by programs, line by line in one form, so they are read as such, and what looks otherwise is passed over: a
//! name that is missed is denied, and none is made up.

use std::{fs, io::Read as _, path::Path};

use serde_json::{Map, Value};
use ws_api::egress::{Locked, Registry};
use ws_policy::package::normalized;

/// The longest lockfile, in bytes.
const LONGEST_FILE: u64 = 64 << 20;

/// Reads what a lockfile names.
type Reader = fn(&str) -> Vec<String>;

/// The lockfiles that are known, as they are called in a project's top folder.
pub const LOCKFILES: [(&str, Registry, Reader); 11] = [
    ("Cargo.lock", Registry::Cargo, cargo),
    ("go.sum", Registry::Go, go),
    ("npm-shrinkwrap.json", Registry::Npm, npm),
    ("package-lock.json", Registry::Npm, npm),
    ("pnpm-lock.yaml", Registry::Npm, pnpm),
    ("yarn.lock", Registry::Npm, yarn),
    ("Pipfile.lock", Registry::Pypi, pipfile),
    ("pdm.lock", Registry::Pypi, poetry),
    ("poetry.lock", Registry::Pypi, poetry),
    ("requirements.txt", Registry::Pypi, requirements),
    ("uv.lock", Registry::Pypi, uv),
];

/// The names in the lockfiles of a project's top folder, at most [`Locked::MOST`] of each registry.
pub fn read(project: &Path) -> Locked {
    let mut locked = Locked::default();
    for (name, registry, reader) in LOCKFILES {
        let Some(text) = text(&project.join(name)) else { continue };
        let fits = |name: &String| !name.is_empty() && name.len() <= Locked::LONGEST;
        locked.of_mut(registry).extend(reader(&text).into_iter().filter(fits));
    }
    let mut locked = locked.sorted();
    for (_, registry, _) in LOCKFILES {
        let names = locked.of_mut(registry);
        names.dedup();
        names.truncate(Locked::MOST);
    }
    locked
}

/// What a file holds, if it is one; a link's target is not looked at.
fn text(path: &Path) -> Option<String> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    fs::File::open(path).ok()?.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The packages of a TOML file with a `[[package]]` each, by their name and the rest of their lines.
fn packages(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split("[[package]]").skip(1).filter_map(|package| {
        let name = package.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))?;
        Some((name.to_owned(), package))
    })
}

fn has_line(package: &str, start: &str) -> bool {
    package.lines().any(|line| line.starts_with(start))
}

/// What has no source is of the project itself. The index has its names in lower case.
fn cargo(text: &str) -> Vec<String> {
    let is_fetched =
        |package: &str| has_line(package, "source = \"registry+") || has_line(package, "source = \"sparse+");
    let fetched = packages(text).filter(|(_, package)| is_fetched(package));
    fetched.flat_map(|(name, _)| [name.to_ascii_lowercase(), name]).collect()
}

/// Paths of modules, escaped as a proxy has them (<https://go.dev/ref/mod#goproxy-protocol>).
fn go(text: &str) -> Vec<String> {
    let escaped = |path: &str| {
        path.chars().fold(String::new(), |mut escaped, letter| {
            if letter.is_ascii_uppercase() {
                escaped.push('!');
            }
            escaped.push(letter.to_ascii_lowercase());
            escaped
        })
    };
    text.lines().filter_map(|line| line.split(' ').next()).map(escaped).collect()
}

/// Of both forms that npm writes: places in `node_modules`, and before, dependencies of dependencies.
fn npm(text: &str) -> Vec<String> {
    let Ok(lockfile) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let mut names = Vec::new();
    for (place, package) in lockfile.get("packages").and_then(Value::as_object).into_iter().flatten() {
        let Some((_, name)) = place.rsplit_once("node_modules/") else { continue };
        if package.get("link").is_none() {
            // A package may have another name here than in the registry.
            names.push(package.get("name").and_then(Value::as_str).unwrap_or(name).to_owned());
        }
    }
    let mut further: Vec<&Map<String, Value>> =
        lockfile.get("dependencies").and_then(Value::as_object).into_iter().collect();
    while let Some(dependencies) = further.pop() {
        for (name, dependency) in dependencies {
            names.push(name.clone());
            further.extend(dependency.get("dependencies").and_then(Value::as_object));
        }
    }
    names
}

/// `name@version` with or without what follows, or as older versions write it, `/name/version`.
fn pnpm(text: &str) -> Vec<String> {
    let Ok(lockfile) = serde_yaml::from_str::<Value>(text) else { return Vec::new() };
    let packages = lockfile.get("packages").and_then(Value::as_object).into_iter().flatten();
    packages
        .filter_map(|(key, _)| {
            let key = key.split('(').next()?.trim_start_matches('/');
            let name = name_before_at(key).or_else(|| Some(key.rsplit_once('/')?.0))?;
            Some(name.to_owned())
        })
        .collect()
}

/// Lines as `name@range, "@scope/name@range":`, also with `npm:` before the range, or before another name and its range.
fn yarn(text: &str) -> Vec<String> {
    let heads =
        text.lines().filter(|line| !line.starts_with([' ', '#'])).filter_map(|line| line.strip_suffix(':'));
    let wanted = heads.flat_map(|head| head.split(", ")).map(|wanted| wanted.trim_matches('"'));
    wanted
        .filter_map(|wanted| {
            let name = match wanted.split_once("@npm:") {
                Some((name, range)) => name_before_at(range).unwrap_or(name),
                None => name_before_at(wanted)?,
            };
            Some(name.to_owned())
        })
        .collect()
}

/// `name` of `name@range`, and `@scope/name` of `@scope/name@range`.
fn name_before_at(text: &str) -> Option<&str> {
    text.rsplit_once('@').map(|(name, _)| name).filter(|name| !name.is_empty())
}

fn pipfile(text: &str) -> Vec<String> {
    let Ok(lockfile) = serde_json::from_str::<Value>(text) else { return Vec::new() };
    let sections =
        ["default", "develop"].into_iter().filter_map(|section| lockfile.get(section)?.as_object());
    sections.flat_map(|section| section.keys()).map(|name| normalized(name)).collect()
}

fn poetry(text: &str) -> Vec<String> {
    packages(text).map(|(name, _)| normalized(&name)).collect()
}

/// What has another source is of the project itself, or of no registry.
fn uv(text: &str) -> Vec<String> {
    let fetched = packages(text).filter(|(_, package)| has_line(package, "source = { registry = "));
    fetched.map(|(name, _)| normalized(&name)).collect()
}

/// `name==version` and the like (<https://pip.pypa.io/en/stable/reference/requirements-file-format/>).
fn requirements(text: &str) -> Vec<String> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let names = text.lines().filter(|line| !line.contains("://")).filter_map(|line| {
        let rest = line.trim_start_matches(is_of_name);
        let name = line.get(..line.len() - rest.len())?;
        name.starts_with(|letter: char| letter.is_ascii_alphanumeric()).then(|| normalized(name))
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lockfile_names_what_is_fetched() {
        for (file, text, expected) in [
            (
                "Cargo.lock",
                "version = 4\n\n[[package]]\nname = \"Inflector\"\nversion = \"0.11.4\"\nsource = \"registry+https://index.example\"\n\n\
                 [[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\n \"Inflector\",\n]\n\n\
                 [[package]]\nname = \"forked\"\nsource = \"git+https://git.example/forked#1\"\n",
                &["Inflector", "inflector"][..],
            ),
            (
                "go.sum",
                "github.com/BurntSushi/toml v1.4.0 h1:a=\ngithub.com/BurntSushi/toml v1.4.0/go.mod h1:b=\n",
                &["github.com/!burnt!sushi/toml"],
            ),
            (
                "package-lock.json",
                r#"{"lockfileVersion": 3, "packages": {"": {"name": "own"}, "node_modules/@acme/shop": {}, "node_modules/a/node_modules/b": {},
                    "node_modules/other": {"name": "real"}, "node_modules/local": {"link": true}, "packages/local": {}}}"#,
                &["@acme/shop", "b", "real"],
            ),
            ("npm-shrinkwrap.json", r#"{"dependencies": {"a": {"dependencies": {"b": {}}}}}"#, &["a", "b"]),
            (
                "pnpm-lock.yaml",
                "lockfileVersion: '9.0'\npackages:\n  a@1.0.0:\n    resolution: {}\n  '@acme/shop@2.0.0(a@1.0.0)': {}\n  /old/1.0.0: {}\n",
                &["@acme/shop", "a", "old"],
            ),
            (
                "yarn.lock",
                "# yarn\n\na@^1.0.0, a@~1.1:\n  version \"1.1.0\"\n\n\"@acme/shop@^2.0.0\":\n  version \"2.0.0\"\n\n\"b@npm:^1.0.0\":\n\n\"c@npm:real@^1.0.0\":\n",
                &["@acme/shop", "a", "b", "real"],
            ),
            (
                "Pipfile.lock",
                r#"{"default": {"Flask": {}}, "develop": {"py_test": {}}, "_meta": {}}"#,
                &["flask", "py-test"],
            ),
            ("poetry.lock", "[[package]]\nname = \"Zope.Interface\"\nversion = \"1\"\n", &["zope-interface"]),
            (
                "requirements.txt",
                "# pins\n-r more.txt\nFlask[async]==3.0 ; python_version > '3'\nx @ https://a.example/x.whl\n\nrequests>=2\n",
                &["flask", "requests"],
            ),
            (
                "uv.lock",
                "[[package]]\nname = \"own\"\nsource = { editable = \".\" }\n\n[[package]]\nname = \"idna\"\nsource = { registry = \"https://index.example/simple\" }\n",
                &["idna"],
            ),
        ] {
            let project = tempfile::tempdir().unwrap();
            fs::write(project.path().join(file), text).unwrap();
            let locked = read(project.path());
            let found = [locked.cargo, locked.go, locked.npm, locked.pypi].concat();
            assert_eq!(found, expected, "{file}");
        }
    }

    #[test]
    fn what_is_no_lockfile_names_nothing() {
        let project = tempfile::tempdir().unwrap();
        assert_eq!(read(project.path()), Locked::default());
        for (file, ..) in LOCKFILES {
            fs::write(project.path().join(file), "[[package]]\n{\0\u{fffd}:\n  - @\n").unwrap();
        }
        let found = read(project.path());
        assert!(found.cargo.is_empty() && found.npm.is_empty() && found.pypi.is_empty(), "{found:?}");
        fs::remove_file(project.path().join("go.sum")).unwrap();
        fs::write(project.path().join("secret"), "name v1 h1:\n").unwrap();
        std::os::unix::fs::symlink("secret", project.path().join("go.sum")).unwrap();
        assert_eq!(read(project.path()).go, Vec::<String>::new(), "a link is not followed");
    }

    #[test]
    fn names_are_bounded() {
        let project = tempfile::tempdir().unwrap();
        let mut many: Vec<String> =
            (0..10_000).map(|number| format!("m.example/{number} v1 h1:\n")).collect();
        many.push("x".repeat(300) + " v1 h1:\n");
        fs::write(project.path().join("go.sum"), many.concat()).unwrap();
        let locked = read(project.path());
        assert_eq!(locked.go.len(), Locked::MOST);
        assert!(locked.go.iter().all(|name| name.len() <= Locked::LONGEST));
    }
}
