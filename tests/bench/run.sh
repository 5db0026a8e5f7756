#!/usr/bin/env bash
# Boots the lab, installs ws, and measures it. Arguments pick benchmarks by name.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Debian's sshd, to be measured against: unpacked only, because installing it would start it on this machine.
SSHD_FOLDER=$(mktemp -d)
export SSHD_FOLDER
trap 'rm -rf "$SSHD_FOLDER"' EXIT
apt-get update -q >&2
(cd "$SSHD_FOLDER" && apt-get download -q openssh-server libwrap0 >&2 && for package in *.deb; do dpkg-deb -x "$package" .; done)

source tests/built.sh
lab=$built/lab
trap '$lab down >&2; rm -rf "$SSHD_FOLDER"' EXIT
$lab down >&2
$lab up >&2
tests/install.sh chart >&2
"$built/bench" "$@"
