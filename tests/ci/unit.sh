#!/usr/bin/env bash
# unit.sh: every test that needs neither a cluster nor the lab. Installs the dialects of nc and builds kustomize and
# Synapse if they are not there (into the user's cache folder).
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/cluster/packages.sh
KUSTOMIZE=$(tests/cluster/build.sh kustomize | awk '$1 == "kustomize" { print $2 }')/kustomize
export KUSTOMIZE
# They wait for packets and clocks more than they compute.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-8}
cargo test --workspace --lib --bins --test suite --test packets
