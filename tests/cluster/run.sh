#!/usr/bin/env bash
# Runs the cluster tests: ws installed from the chart, then once more from the manifests on clusters that enforce badly.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/booted.sh
# Tests send signals, which what starts them in the background has them ignore.
cargo=(env --default-signal=HUP,INT cargo test --release --locked --workspace)

"${cargo[@]}" --test cluster -- --ignored --test-threads=4
"${cargo[@]}" --test alone -- --ignored --test-threads=1
"${cargo[@]}" --test enforcement -- --ignored --test-threads=1
# The lab's own: takes it up and down, and crashes it.
"${cargo[@]}" --test lab -- --ignored --test-threads=1
