#!/usr/bin/env bash
# lab.sh: the lab's own tests, every fault on purpose, and the scenarios of the real cluster. Installs and builds what it needs, as unit.sh does.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/cluster/packages.sh
KUSTOMIZE=$(tests/cluster/build.sh kustomize | awk '$1 == "kustomize" { print $2 }')/kustomize
export KUSTOMIZE
# The verifier that the lab runs: cargo builds it beside the tests of its package.
NETPOL_VERIFY=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug/netpol-verify
export NETPOL_VERIFY
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}
cargo test --workspace --test faults --test played --test net
