#!/usr/bin/env bash
# run.sh [MINUTES [TARGET...]]: each target for so long (20 minutes; all of them), one after another. SEED repeats a run.
set -euo pipefail
cd "$(dirname "$0")"
minutes=${1:-20}
[ $# -gt 1 ] && targets=("${@:2}") || targets=(policies selectors explain)
for target in "${targets[@]}"; do
  seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
  found=$(mktemp -d)
  echo "$target: $minutes minutes, seed $seed, new inputs in $found" >&2
  nice cargo +nightly fuzz run --sanitizer none "$target" "$found" "corpus/$target" -- \
    -seed="$seed" -max_total_time=$((minutes * 60)) -timeout=5 -rss_limit_mb=1024 \
    -max_len=4096 -len_control=20 -dict="$target.dict" -print_final_stats=1
done
