#!/usr/bin/env bash
# Boots the lab, installs ws, and measures it. Arguments pick benchmarks by name.
set -euo pipefail
cd "$(dirname "$0")/../.."

# sshd and rsync, to be measured against.
if ! [ -x /usr/sbin/sshd ] || ! command -v rsync >/dev/null; then
  apt-get install -y --no-install-recommends openssh-server rsync >&2
fi

source tests/built.sh
lab=$built/lab
trap '$lab down >&2' EXIT
$lab down >&2
$lab up >&2
tests/install.sh chart >&2
"$built/bench" "$@"
