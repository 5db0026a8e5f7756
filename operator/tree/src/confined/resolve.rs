//! From a path to a folder's handle, without following links.

use std::io;

use super::dir::Dir;

/// Opens the folder at `path` beneath `root`.
#[cfg(target_os = "linux")]
pub(super) fn beneath(root: &Dir, path: &[u8]) -> io::Result<Dir> {
    use rustix::fs::{Mode, ResolveFlags, openat2};
    use rustix::io::Errno;

    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root.handle(), path, super::HANDLE, Mode::empty(), resolve) {
        Ok(directory) => Ok(Dir::new(directory)),
        // ENOSYS: before Linux 5.6, or gVisor. EPERM: a seccomp profile from before openat2. EAGAIN: a rename raced
        // with the lookup. All of them can be walked instead.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => by_component(root, path),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn beneath(root: &Dir, path: &[u8]) -> io::Result<Dir> {
    by_component(root, path)
}

/// Opens the folder at `path` one component after the other.
fn by_component(root: &Dir, path: &[u8]) -> io::Result<Dir> {
    path.split(|&byte| byte == b'/').try_fold(root.clone(), |directory, name| directory.dir(name))
}

#[cfg(target_os = "linux")]
pub(super) fn leads_inside(root: &Dir, directory: &[u8], target: &[u8]) -> io::Result<bool> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    let path = if directory.is_empty() { target.to_vec() } else { [directory, b"/", target].concat() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(root.handle(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::NOSYS | Errno::PERM) => Ok(true),
        Err(Errno::XDEV | Errno::LOOP | Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn leads_inside(_root: &Dir, _directory: &[u8], _target: &[u8]) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::confined::Confined;

    #[test]
    fn no_lookup_passes_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(project.path().join("a/b")).unwrap();
        std::fs::create_dir(outside.path().join("d")).unwrap();
        symlink(outside.path(), project.path().join("a/out")).unwrap();
        symlink("b", project.path().join("a/in")).unwrap();
        let confined = Confined::open(project.path()).unwrap();
        for lookup in [beneath, by_component] {
            assert!(lookup(confined.root(), b"a/b").is_ok());
            for path in ["a/out", "a/out/d", "a/in", "a/none"] {
                assert!(lookup(confined.root(), path.as_bytes()).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn where_a_target_really_leads_is_found() {
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join("d")).unwrap();
        symlink("/etc", project.path().join("d/out")).unwrap();
        let confined = Confined::open(project.path()).unwrap();
        for (directory, target, inside) in [
            ("", "d", true),
            ("d", "none", true),
            ("d", "../d", true),
            ("d", "out/passwd", false),
            ("", "d/out", false),
        ] {
            let found = confined.leads_inside(directory.as_bytes(), target.as_bytes()).unwrap();
            assert_eq!(found, inside, "{directory} {target}");
        }
    }
}
