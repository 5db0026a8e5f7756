#!/usr/bin/env bash
# Fuzzes each target, or those that are named, for some minutes: run.sh MINUTES [TARGET…]. The first input that breaks a property ends
# it; cargo-fuzz says where it is kept and how to run it again.
set -euo pipefail
cd "$(dirname "$0")"
minutes=$1
shift
cargo fuzz --version > /dev/null 2>&1 || { echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz" >&2; exit 1; }
# Its flags are the nightly compiler's; with this the stable one takes them.
export RUSTC_BOOTSTRAP=1
mapfile -t targets < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else cargo fuzz list; fi)
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "seeds/$target"
  words=()
  [ ! -f "words/$target" ] || words=("-dict=words/$target")
  # What it finds goes into corpus/, which is not kept; seeds/ is.
  cargo fuzz run "$target" "corpus/$target" "seeds/$target" -- \
    -max_total_time=$((minutes * 60)) -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 "${words[@]}"
done
