//! Paths on the command line as paths of the project.

use std::{
    collections::BTreeSet,
    env,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use ws_tree::TreePath;

use crate::error::Error;

/// Reads paths as the user means them: from the current folder where that is in the project, else from the project's.
pub(super) fn in_project(paths: &[PathBuf], project: &Path) -> Result<BTreeSet<TreePath>, Error> {
    let current = env::current_dir().and_then(|folder| folder.canonicalize()).ok();
    let base = current.filter(|folder| folder.starts_with(project)).unwrap_or_else(|| project.to_owned());
    paths.iter().map(|path| from(&base, path, project)).collect()
}

fn from(base: &Path, path: &Path, project: &Path) -> Result<TreePath, Error> {
    let outside = |why: &str| Error::usage(format!("{} is no path of the project: {why}", path.display()));
    let absolute = normal(&base.join(path));
    let inside = absolute.strip_prefix(project).map_err(|_| outside("it leads out of it"))?;
    TreePath::parse(inside.as_os_str().as_bytes()).map_err(|error| outside(&error.to_string()))
}

/// Without dots, by the words alone: a path of the workspace need not be on this machine.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_folder_the_user_is_in() {
        let project = Path::new("/p");
        let table = [
            ("/p", "a", Some("a")),
            ("/p/src", "a", Some("src/a")),
            ("/p/src", "../a", Some("a")),
            ("/p", "./a//b/", Some("a/b")),
            ("/p", "/p/x", Some("x")),
            ("/p", "../q", None),
            ("/p", "/etc/passwd", None),
            ("/p/src", "../..", None),
            ("/p", ".", None),
        ];
        for (base, path, expected) in table {
            let found = from(Path::new(base), Path::new(path), project).ok();
            assert_eq!(found.map(|path| path.to_string()).as_deref(), expected, "{base} {path}");
        }
    }
}
