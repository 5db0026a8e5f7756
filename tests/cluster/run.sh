#!/usr/bin/env bash
# Runs the cluster tests: ws installed from the chart, then once more from the manifests on clusters that enforce badly.
set -euo pipefail
cd "$(dirname "$0")/../.."

lab=target/release/lab
cargo=(cargo test --release --locked -p ws-tests)
trap '$lab down' EXIT

# The test of its crashes runs the operator beside the cluster.
cargo build --release --locked -p ws-operator

$lab down
$lab up
tests/install.sh chart

"${cargo[@]}" --test cluster -- --test-threads=4
"${cargo[@]}" --test crash -- --test-threads=1
"${cargo[@]}" --test enforcement -- --test-threads=1
