use std::{
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, symlink},
    },
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::fs::{FileType, MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, mknodat};
use tempfile::TempDir;

use super::*;

/// Puts something at a name.
type Put = fn(&Path);

/// What may stand where a file is looked for.
const OBSTACLES: [(&str, Put); 5] = [
    ("a pipe", pipe),
    ("a link to what has no end", |path| symlink("/dev/zero", path).unwrap()),
    ("a link to a file", |path| symlink("../victim", path).unwrap()),
    ("a link to nothing", |path| symlink("nothing", path).unwrap()),
    ("an empty folder", |path| fs::create_dir(path).unwrap()),
];

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// A home directory with the folder, and beside it a file that is none of the agent's business.
fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(FOLDER);
    fs::create_dir(&folder).unwrap();
    fs::write(home.path().join("victim"), "mine").unwrap();
    (home, folder)
}

/// Has programs trust `A`, in time: what would wait for ever is left behind.
fn add(home: &Path, system: Vec<PathBuf>) -> io::Result<()> {
    let trust = Trust::new(home, system);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(trust.write("A\n")));
    told.recv_timeout(Duration::from_secs(10)).expect("it waits")
}

#[test]
fn the_authority_is_added_once() {
    for (authorities, expected) in [("S\n", "A\n"), ("S", "\nA\n"), ("", "A\n"), ("S\nA\n", "")] {
        assert_eq!(missing(authorities, "A\n"), expected, "{authorities:?}");
    }
}

#[test]
fn the_file_is_replaced_whole_and_only_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let handle = File::open(folder.path()).unwrap();
    let file = folder.path().join("file");
    let inode = || fs::metadata(&file).unwrap().ino();
    replace(handle.as_fd(), "file", b"A").unwrap();
    let (first, reader) = (inode(), File::open(&file).unwrap());
    replace(handle.as_fd(), "file", b"A").unwrap();
    assert_eq!(inode(), first);
    replace(handle.as_fd(), "file", b"B").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "B");
    assert_eq!(io::read_to_string(reader).unwrap(), "A", "who has begun to read reads on");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_stands_in_the_way_is_replaced_and_neither_followed_nor_waited_for() {
    for (obstacle, put) in OBSTACLES {
        for name in [AUTHORITIES, KEY_STORE, DRAFT] {
            let (home, folder) = home();
            put(&folder.join(name));
            add(home.path(), Vec::new()).unwrap();
            assert_eq!(fs::read_to_string(for_programs(home.path())).unwrap(), "A\n", "{obstacle} at {name}");
            assert_eq!(fs::read(for_java(home.path())).unwrap(), key_store::of_pem("A\n"));
            for name in [AUTHORITIES, KEY_STORE] {
                assert!(folder.join(name).symlink_metadata().unwrap().is_file(), "{obstacle} at {name}");
            }
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "{obstacle} at {name}");
            assert_eq!(
                fs::read_to_string(home.path().join("victim")).unwrap(),
                "mine",
                "{obstacle} at {name}"
            );
        }
    }
}

#[test]
fn what_cannot_be_replaced_is_an_error_and_takes_no_other_file_along() {
    for name in [AUTHORITIES, KEY_STORE] {
        let (home, folder) = home();
        fs::create_dir_all(folder.join(name).join("full")).unwrap();
        assert!(add(home.path(), Vec::new()).is_err(), "{name}");
        let others = [AUTHORITIES, KEY_STORE].into_iter().filter(|other| *other != name);
        assert!(others.map(|other| folder.join(other)).all(|other| other.is_file()), "{name}");
    }
    let (home, folder) = home();
    fs::create_dir_all(folder.join(DRAFT).join("full")).unwrap();
    assert!(add(home.path(), Vec::new()).is_err());
}

#[test]
fn the_folder_is_a_folder_and_no_way_elsewhere() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().to_owned();
    for put in [&(|path: &Path| symlink(&target, path).unwrap()) as &dyn Fn(&Path), &pipe] {
        let (home, folder) = home();
        fs::remove_dir(&folder).unwrap();
        put(&folder);
        assert!(add(home.path(), Vec::new()).is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}

#[test]
fn only_a_file_with_an_end_is_taken_for_the_systems() {
    let long = |path: &Path| File::create(path).unwrap().set_len(MAX_SYSTEM + 1).unwrap();
    let kernels = |path: &Path| symlink("/proc/self/environ", path).unwrap();
    let more: [(&str, Put); 2] = [("one that is too long", long), ("one of the kernel's", kernels)];
    for (obstacle, put) in OBSTACLES.into_iter().chain(more).filter(|(what, _)| *what != "a link to a file") {
        let (home, _) = home();
        let [first, second, link] = ["first", "second", "link"].map(|name| home.path().join(name));
        put(&first);
        fs::write(&second, "S\n").unwrap();
        symlink("second", &link).unwrap();
        add(home.path(), vec![first, link]).unwrap();
        let trusted = fs::read_to_string(for_programs(home.path())).unwrap();
        assert_eq!(trusted, "S\nA\n", "{obstacle} before a link to a file");
        assert_eq!(fs::read_to_string(second).unwrap(), "S\nA\n", "{obstacle}");
    }
}

#[test]
fn the_systems_file_grows_and_is_never_cut() {
    let file = memfd_create("authorities", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let mut file = File::from(file);
    file.write_all(b"S").unwrap();
    // From now on the kernel refuses to make it shorter.
    fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    assert_eq!(of_system(&path, "A\n").unwrap(), "S\nA\n");
    assert_eq!(of_system(&path, "A\n").unwrap(), "S\nA\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "S\nA\n");
}
