#!/usr/bin/env bash
# Runs the cluster tests: ws installed from the chart, then once more from the manifests on clusters that enforce badly.
set -euo pipefail
cd "$(dirname "$0")/../.."

source tests/built.sh
lab=$built/lab
# Tests send signals, which what starts them in the background has them ignore.
cargo=(env --default-signal=HUP,INT cargo test --release --locked --workspace)
trap '$lab down' EXIT

$lab down
$lab up
tests/install.sh chart
# Large, and only these tests use it.
mapfile -t images < <($lab images --toolchains)
$lab load "${images[@]}"

"${cargo[@]}" --test cluster -- --ignored --test-threads=4
"${cargo[@]}" --test alone -- --ignored --test-threads=1
"${cargo[@]}" --test enforcement -- --ignored --test-threads=1
# The lab's own: takes it up and down, and crashes it.
"${cargo[@]}" --test lab -- --ignored --test-threads=1
