#!/usr/bin/env bash
# demo-cluster.sh: brings the cluster up if it is not, builds the verifier, and tells the story of tests/e2e/src/bin/demo.rs.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PROFILE=${PROFILE:-dev}
tests/cluster/up.sh
tests/cluster/image.sh
cargo run --package e2e --bin demo --quiet
