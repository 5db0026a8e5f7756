//! Which programs the lab is made of, at which versions, built how.
//!
//! A tool is a small Go module of its own under `tools/`, so that the tools' dependencies never argue about versions.
//! Its `go.mod` is the only place that names a version; the version stamps are read from there.
//!
//! kubernetes, helm and coredns agree on the versions of Kubernetes' client and of all that it is made of, so Go compiles it
//! once for the three.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// What a build must produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All that a lab runs.
    Lab,
    /// Also Kubernetes' own end-to-end tests and the image they use.
    Conformance,
}

/// How `go` makes a binary of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `go build`.
    Command,
    /// `go test -c`.
    TestBinary,
}

/// One binary of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Binary {
    pub name: &'static str,
    pub package: &'static str,
    pub kind: Kind,
    pub selection: Selection,
}

const fn command(name: &'static str, package: &'static str) -> Binary {
    Binary { name, package, kind: Kind::Command, selection: Selection::Lab }
}

/// A linker variable and how its value comes from the version in `go.mod`.
type Stamp = (&'static str, fn(&str) -> String);

/// One Go module under `tools/`.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Its folder.
    pub name: &'static str,
    /// The module whose version the binaries report.
    pub module: &'static str,
    pub binaries: &'static [Binary],
    tags: &'static str,
    cgo: bool,
    stamps: &'static [Stamp],
}

fn whole(version: &str) -> String {
    version.to_owned()
}

fn number(version: &str) -> String {
    version.trim_start_matches('v').to_owned()
}

fn part(version: &str, index: usize) -> String {
    number(version).split('.').nth(index).unwrap_or_default().to_owned()
}

/// Every tool, in the order in which they are built: the small ones first, so that a broken toolchain shows at once.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "cni",
        module: "github.com/containernetworking/plugins",
        binaries: &[
            command("bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
            command("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
            command("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
            command("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
        ],
        tags: "",
        cgo: false,
        stamps: &[("github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion", whole)],
    },
    Tool {
        name: "runc",
        module: "github.com/opencontainers/runc",
        binaries: &[command("runc", "github.com/opencontainers/runc")],
        tags: "seccomp",
        cgo: true,
        stamps: &[("main.version", number)],
    },
    Tool {
        name: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        binaries: &[command("etcd", ".")],
        tags: "",
        cgo: false,
        stamps: &[],
    },
    Tool {
        name: "containerd",
        module: "github.com/containerd/containerd/v2",
        binaries: &[
            command("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            command(
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            ),
            command("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
        tags: "",
        cgo: false,
        stamps: &[("github.com/containerd/containerd/v2/version.Version", whole)],
    },
    Tool {
        name: "kubernetes",
        module: "k8s.io/kubernetes",
        binaries: &[
            command("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            command("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            command("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            command("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            command("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
            command("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            Binary {
                name: "agnhost",
                package: "k8s.io/kubernetes/test/images/agnhost",
                kind: Kind::Command,
                selection: Selection::Conformance,
            },
            Binary {
                name: "e2e.test",
                package: "k8s.io/kubernetes/test/e2e",
                kind: Kind::TestBinary,
                selection: Selection::Conformance,
            },
        ],
        tags: "selinux,notest,grpcnotrace",
        cgo: false,
        stamps: &[
            ("k8s.io/component-base/version.gitVersion", whole),
            ("k8s.io/component-base/version.gitMajor", |version| part(version, 0)),
            ("k8s.io/component-base/version.gitMinor", |version| part(version, 1)),
            ("k8s.io/component-base/version.gitTreeState", |_| "clean".to_owned()),
        ],
    },
    Tool {
        name: "helm",
        module: "helm.sh/helm/v3",
        binaries: &[command("helm", "helm.sh/helm/v3/cmd/helm")],
        tags: "",
        cgo: false,
        stamps: &[("helm.sh/helm/v3/internal/version.version", whole)],
    },
    Tool {
        name: "coredns",
        module: "github.com/coredns/coredns",
        binaries: &[command("coredns", ".")],
        tags: "",
        cgo: false,
        stamps: &[],
    },
];

impl Tool {
    /// The folder of its Go module.
    pub fn folder(&self, tools: &Path) -> PathBuf {
        tools.join(self.name)
    }

    /// The binaries that `selection` asks for.
    pub fn selected(&self, selection: Selection) -> impl Iterator<Item = &'static Binary> + use<> {
        self.binaries
            .iter()
            .filter(move |binary| binary.selection == Selection::Lab || selection == Selection::Conformance)
    }

    /// The version that its `go.mod` pins.
    pub fn version(&self, tools: &Path) -> Result<String> {
        let path = self.folder(tools).join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        required(&text, self.module)
            .map(str::to_owned)
            .with_context(|| format!("{} does not require {}", path.display(), self.module))
    }

    /// The flags of `go build`, the version stamps among them.
    pub fn flags(&self, version: &str) -> Vec<String> {
        let stamps = self.stamps.iter().fold(String::from("-s -w"), |mut all, (variable, value)| {
            let _ = write!(all, " -X {variable}={}", value(version));
            all
        });
        ["-trimpath", "-tags", self.tags, "-ldflags", &stamps].map(str::to_owned).to_vec()
    }

    /// The value of `CGO_ENABLED`.
    pub fn cgo(&self) -> &'static str {
        if self.cgo { "1" } else { "0" }
    }
}

/// The version of `module` in the text of a `go.mod` file.
fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next()).flatten()
    })
}

/// Names the folder in the cache: changes with everything that can change a binary but the Go toolchain.
pub fn hash(tools: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for tool in TOOLS {
        let folder = tool.folder(tools);
        let flags = tool.flags(&tool.version(tools)?);
        update(&mut hasher, format!("{} {} {flags:?}", tool.name, tool.cgo()).as_bytes());
        for name in ["go.mod", "go.sum", "main.go"] {
            match fs::read(folder.join(name)) {
                Ok(content) => update(&mut hasher, &content),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => update(&mut hasher, &[]),
                Err(error) => {
                    return Err(error).with_context(|| format!("reading {name} in {}", folder.display()));
                }
            }
        }
    }
    Ok(hasher.finalize().to_hex().chars().take(16).collect())
}

/// Prefixed with its length, so that content cannot move from one file to the next unnoticed.
fn update(hasher: &mut blake3::Hasher, content: &[u8]) {
    hasher.update(&content.len().to_le_bytes()).update(content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn a_version_is_read_from_either_form_of_require() {
        let block =
            "module a\n\nrequire (\n\tk8s.io/api v0.1.0 // indirect\n\tk8s.io/kubernetes v1.36.2\n)\n";
        let line = "module a\nrequire k8s.io/kubernetes v1.36.2\n";
        for text in [block, line] {
            assert_eq!(required(text, "k8s.io/kubernetes"), Some("v1.36.2"));
            assert_eq!(required(text, "k8s.io/kube"), None);
        }
    }

    #[test]
    fn every_tool_pins_its_module() {
        for tool in TOOLS {
            let version = tool.version(&paths::sources().join("tools")).unwrap();
            assert!(version.starts_with('v'), "{}: {version}", tool.name);
        }
    }

    #[test]
    fn the_stamps_follow_the_pin() {
        let kubernetes = TOOLS.iter().find(|tool| tool.name == "kubernetes").unwrap();
        let flags = kubernetes.flags("v1.36.2").join(" ");
        for stamp in ["version.gitVersion=v1.36.2", "version.gitMajor=1", "version.gitMinor=36"] {
            assert!(flags.contains(stamp), "{flags}");
        }
    }

    #[test]
    fn the_hash_changes_with_any_pinned_file() {
        let copy = tempfile::tempdir().unwrap();
        for tool in TOOLS {
            fs::create_dir(copy.path().join(tool.name)).unwrap();
            for name in ["go.mod", "go.sum"] {
                let from = paths::sources().join("tools").join(tool.name).join(name);
                fs::copy(from, copy.path().join(tool.name).join(name)).unwrap();
            }
        }
        let before = hash(copy.path()).unwrap();
        assert_eq!(before, hash(copy.path()).unwrap());
        fs::write(copy.path().join("etcd/main.go"), "package main").unwrap();
        assert_ne!(before, hash(copy.path()).unwrap());
    }
}
