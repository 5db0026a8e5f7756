#!/usr/bin/env python3
"""Makes the registries of the fake internet: folders of files, one for each host, and repositories for git.

Each has a sample of which one version is old and one has only just appeared, and a stranger that no rule is to name. When a
version appeared is its file's time, which the web server tells as `Last-Modified`.
"""

import argparse
import base64
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile
import time
import zipfile

OLD, NEW = 1_600_000_000, time.time()
VERSIONS = {"ws-sample": {"1.0.0": OLD, "1.1.0": NEW}, "ws-stranger": {"1.0.0": OLD}}
REPOSITORIES = ["ws-dev/sample", "ws-dev/stranger"]
# To ask for all of them takes more than git sends uncompressed.
BRANCHES = 64


def write(path, content, at=OLD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (at, at))


def tar(files):
    """A compressed archive of these texts."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as writer:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            writer.addfile(entry, io.BytesIO(text.encode()))
    return archive.getvalue()


def zipped(files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for name, text in files.items():
            writer.writestr(name, text)
    return archive.getvalue()


def npm(folder, host):
    """https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md"""
    packages = {**VERSIONS, "@ws/scoped": {"1.0.0": OLD}}
    for name, versions in packages.items():
        manifests = {}
        for version, at in versions.items():
            manifest = {"name": name, "version": version, "main": "index.js"}
            if name == "ws-sample":
                manifest["dependencies"] = {"@ws/scoped": "^1.0.0"}
            code = f"module.exports = '{name} {version}';\n"
            archive = tar({"package/package.json": json.dumps(manifest), "package/index.js": code})
            file = f"{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
            write(folder / file, archive, at)
            integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
            manifests[version] = {**manifest, "dist": {"tarball": f"https://{host}/{file}", "integrity": integrity}}
        metadata = {"name": name, "dist-tags": {"latest": max(versions)}, "versions": manifests}
        write(folder / name / "index.json", json.dumps(metadata))


def pypi(folder, host):
    """https://packaging.python.org/en/latest/specifications/simple-repository-api/"""
    for name, versions in VERSIONS.items():
        module, links = name.replace("-", "_"), []
        for version, at in versions.items():
            info = f"{module}-{version}.dist-info"
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            wheel = "Wheel-Version: 1.0\nGenerator: ws\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            files = {f"{module}.py": f"NAME = '{name} {version}'\n", f"{info}/METADATA": metadata, f"{info}/WHEEL": wheel}
            record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
            content = zipped({**files, f"{info}/RECORD": record})
            digest, file = hashlib.sha256(content).hexdigest(), f"{module}-{version}-py3-none-any.whl"
            path = f"packages/py3/{name[0]}/{name}/{file}"
            write(folder / path, content, at)
            links.append(f'<a href="https://{host}/{path}#sha256={digest}">{file}</a>\n')
        write(folder / "simple" / name / "index.html", f"<!DOCTYPE html>\n{''.join(links)}")


def crates(folder, host):
    """https://doc.rust-lang.org/cargo/reference/registry-index.html"""
    write(folder / "index/config.json", json.dumps({"dl": f"https://{host}/crates", "api": f"https://{host}"}))
    for name, versions in VERSIONS.items():
        lines = []
        for version, at in versions.items():
            root = f"{name}-{version}"
            manifest = f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\n'
            code = f'pub const NAME: &str = "{name} {version}";\n'
            archive = tar({f"{root}/Cargo.toml": manifest, f"{root}/src/lib.rs": code})
            write(folder / "crates" / name / version / "download", archive, at)
            line = {"name": name, "vers": version, "deps": [], "features": {}, "yanked": False}
            lines.append(json.dumps({**line, "cksum": hashlib.sha256(archive).hexdigest()}) + "\n")
        write(folder / "index" / name[:2] / name[2:4] / name, "".join(lines))


def go(folder, _host):
    """https://go.dev/ref/mod#goproxy-protocol"""
    for name, versions in VERSIONS.items():
        path = "lab.example/" + name.removeprefix("ws-")
        place = folder / path / "@v"
        write(place / "list", "".join(f"v{version}\n" for version in versions))
        for version, at in versions.items():
            module = f"module {path}\n\ngo 1.19\n"
            code = f'package {path.rpartition("/")[2]}\n\nconst Name = "{name} {version}"\n'
            root = f"{path}@v{version}"
            write(place / f"v{version}.mod", module)
            write(place / f"v{version}.info", json.dumps({"Version": f"v{version}", "Time": "2020-09-13T12:26:40Z"}))
            write(place / f"v{version}.zip", zipped({f"{root}/go.mod": module, f"{root}/name.go": code}), at)


def git(folder):
    """https://git-scm.com/docs/git-http-backend"""
    commits = "".join(
        f"commit refs/heads/{branch}\ncommitter ws <ws@ws.example> {OLD + number} +0000\ndata 0\n"
        f"M 644 inline number\ndata <<END\n{number}\nEND\n"
        for number in range(BRANCHES)
        for branch in ["main" if number == 0 else f"branch-{number}"]
    )
    for name in REPOSITORIES:
        repository = folder / f"{name}.git"
        run = ["git", "-C", repository]
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", repository], check=True)
        # Whoever may reach it may push.
        subprocess.run([*run, "config", "http.receivepack", "true"], check=True)
        subprocess.run([*run, "fast-import", "--quiet"], input=commits.encode(), check=True)


REGISTRIES = {"npm.example": npm, "pypi.example": pypi, "crates.example": crates, "go.example": go}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=pathlib.Path, help="where to make the folders of the hosts")
    folder = arguments.parse_args().folder
    for host, make in REGISTRIES.items():
        make(folder / host, host)
    git(folder / "github.com")


if __name__ == "__main__":
    main()
