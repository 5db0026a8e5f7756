#!/usr/bin/env bash
# Boots the lab, installs ws, and turns its defences off one at a time. Arguments pick defences by a part of their text.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/booted.sh
# Built before anything is measured by whether it passes.
cargo test --release --locked --workspace --no-run
"$built/mutations" "$@"
