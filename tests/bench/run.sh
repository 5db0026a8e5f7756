#!/usr/bin/env bash
# Boots the lab, installs ws, and measures it. Arguments pick benchmarks by name.
set -euo pipefail
cd "$(dirname "$0")/../.."

# What ws is measured against: Debian's packages, unpacked only, because installing them would start them on this machine, and
# mitmproxy in an environment of its own.
rivals=$(mktemp -d)
chmod 755 "$rivals" # Squid's helpers are nobody's.
trap 'rm -rf "$rivals"' EXIT
export SSHD_FOLDER=$rivals/sshd SQUID_FOLDER=$rivals/squid MITMPROXY_FOLDER=$rivals/mitmproxy
# Into this folder, these packages.
unpack() {
  mkdir "$1"
  (cd "$1" && apt-get download -q "${@:2}" >&2 && for package in *.deb; do dpkg-deb -x "$package" .; done)
}
apt-get update -q >&2
unpack "$SSHD_FOLDER" openssh-server libwrap0
case " $* " in "  " | *" gateway "*)
  unpack "$SQUID_FOLDER" squid-openssl squid-common squid-langpack libecap3 libltdl7 libnetfilter-conntrack3 libnfnetlink0 libtdb1
  python3 -m venv "$MITMPROXY_FOLDER"
  "$MITMPROXY_FOLDER/bin/pip" install -q mitmproxy==11.0.2 >&2
  ;;
esac

source tests/built.sh
lab=$built/lab
trap '$lab down >&2; rm -rf "$rivals"' EXIT
$lab down >&2
$lab up >&2
tests/install.sh chart >&2
"$built/bench" "$@"
