#!/usr/bin/env bash
# unit.sh: every test that needs no cluster. Installs the dialects of nc and builds kustomize and Synapse if they are
# not there (into the user's cache folder).
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/cluster/packages.sh
KUSTOMIZE=$(tests/cluster/build.sh kustomize | awk '$1 == "kustomize" { print $2 }')/kustomize
export KUSTOMIZE
# They wait for packets and clocks more than they compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}
# What `cargo test` builds beside the tests: the lab runs it.
NETPOL_VERIFY=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug/netpol-verify
export NETPOL_VERIFY
cargo test --workspace --exclude e2e
cargo test --package e2e --lib
