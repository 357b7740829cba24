#!/usr/bin/env bash
# compile.sh: compiles all tests at once, with one set of features, so that nothing is compiled twice.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo test --workspace --no-run --lib --bins \
  --test suite --test packets --test faults --test played --test net --test scenarios --test agreement
