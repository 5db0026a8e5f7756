//! Debian packages that the lab calls on: installed when it is root, otherwise named in one line.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;
use crate::progress::Progress;

/// A package and the files that show it is there.
struct Package {
    name: &'static str,
    proof: Proof,
}

enum Proof {
    /// A program on the `PATH` or in the administrator's folders.
    Program(&'static str),
    /// A file at the same place everywhere.
    File(&'static str),
    /// What `pkg-config` calls a library, wherever the architecture's folder is.
    PkgConfig(&'static str),
}

/// What the lab, its tests and their scripts call.
const PACKAGES: &[Package] = &[
    // To build the binaries and images.
    Package { name: "gcc", proof: Proof::Program("gcc") },
    Package { name: "libc6-dev", proof: Proof::File("/usr/include/stdio.h") },
    Package { name: "pkg-config", proof: Proof::Program("pkg-config") },
    Package { name: "libseccomp-dev", proof: Proof::PkgConfig("libseccomp") },
    Package { name: "buildah", proof: Proof::Program("buildah") },
    Package { name: "mmdebstrap", proof: Proof::Program("mmdebstrap") },
    Package { name: "npm", proof: Proof::Program("npm") },
    // To run a lab.
    Package { name: "fcgiwrap", proof: Proof::Program("fcgiwrap") },
    Package { name: "iproute2", proof: Proof::Program("ip") },
    Package { name: "nginx-light", proof: Proof::Program("nginx") },
    Package { name: "nftables", proof: Proof::Program("nft") },
    Package { name: "procps", proof: Proof::Program("sysctl") },
    Package {
        name: "python3-websockets",
        proof: Proof::File("/usr/lib/python3/dist-packages/websockets/__init__.py"),
    },
    // To test ws in it.
    Package { name: "curl", proof: Proof::Program("curl") },
    Package { name: "git", proof: Proof::Program("git") },
    Package { name: "openssh-client", proof: Proof::Program("ssh") },
    Package { name: "nodejs", proof: Proof::Program("node") },
    Package { name: "python3", proof: Proof::Program("python3") },
    Package { name: "rsync", proof: Proof::Program("rsync") },
];

/// Makes sure that all of them are installed.
pub fn ensure(progress: &Progress) -> Result<()> {
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|package| !is_there(&package.proof)).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !rustix::process::geteuid().is_root() {
        bail!("packages are missing; as root: {line}");
    }
    progress.note(&line);
    command::output(Command::new("apt-get").arg("update"))?;
    command::output(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    Ok(())
}

fn is_there(proof: &Proof) -> bool {
    match proof {
        Proof::Program(name) => {
            let path = env::var_os("PATH").unwrap_or_default();
            // A user's PATH often lacks the administrator's folders.
            let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
            folders.map(|folder| folder.join(name)).any(|file| file.is_file())
        }
        Proof::File(path) => Path::new(path).is_file(),
        Proof::PkgConfig(name) => ["/usr/lib", "/usr/share"].iter().any(|base| {
            pkg_config_folders(Path::new(base)).any(|folder| folder.join(format!("{name}.pc")).is_file())
        }),
    }
}

/// `base/pkgconfig` and `base/<architecture>/pkgconfig`.
fn pkg_config_folders(base: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let below = std::fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(base.to_owned()).chain(below).map(|folder| folder.join("pkgconfig"))
}
